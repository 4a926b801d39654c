import { StateError, type StateBackend, type StateOwner, type TaskState } from '../../processor/state/port.ts'

/** A state that can be taken away, and counts what is read from it. */
export class WrappedState implements StateBackend {
  /** While true every call fails, as if nobody answered. */
  isAway = false
  /** Calls that failed since. */
  refused = 0
  /** Keys read since. */
  keysRead = 0
  readonly #inner: StateBackend

  constructor(inner: StateBackend) {
    this.#inner = inner
  }

  async takeOver(task: string, owner: StateOwner): Promise<TaskState> {
    this.#answer()
    const state = await this.#inner.takeOver(task, owner)
    return {
      found: state.found,
      newIncarnation: async (timeMs) => {
        this.#answer()
        return state.newIncarnation(timeMs)
      },
      readMany: async (keys) => {
        this.#answer()
        this.keysRead += keys.length
        return state.readMany(keys)
      },
      scan: (prefix) => {
        this.#answer()
        return state.scan(prefix)
      },
      apply: async (write) => {
        this.#answer()
        return state.apply(write)
      },
    }
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #answer(): void {
    if (!this.isAway) return
    this.refused++
    throw new StateError('STATE_UNAVAILABLE', 'The state does not answer.')
  }
}
