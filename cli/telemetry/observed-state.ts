import type { StateBackend, StateWrite, TaskState } from '../../processor/state/port.ts'

export interface StateObserver {
  read(event: { readonly keys: number; readonly durationMs: number }): void
  written(event: { readonly records: number; readonly durationMs: number }): void
  failed(error: unknown): void
}

/** The state, with each bulk read and each apply timed. Scans belong to restores, which are timed as such. */
export function observedState(
  state: StateBackend,
  observer: StateObserver,
  nowMs: () => number = () => performance.now(),
): StateBackend {
  const timed = async <T>(call: Promise<T>, tell: (durationMs: number) => void): Promise<T> => {
    const beganMs = nowMs()
    try {
      const result = await call
      tell(nowMs() - beganMs)
      return result
    } catch (error) {
      observer.failed(error)
      throw error
    }
  }
  const observed = (task: TaskState): TaskState => ({
    found: task.found,
    newIncarnation: (timeMs) => task.newIncarnation(timeMs),
    readMany: (keys) =>
      timed(task.readMany(keys), (durationMs) => observer.read({ keys: keys.length, durationMs })),
    scan: (prefix) => task.scan(prefix),
    apply: (write) =>
      timed(task.apply(write), (durationMs) => observer.written({ records: recordsOf(write), durationMs })),
  })
  return {
    takeOver: async (task, owner) => {
      try {
        return observed(await state.takeOver(task, owner))
      } catch (error) {
        observer.failed(error)
        throw error
      }
    },
    close: () => state.close(),
  }
}

function recordsOf({ records }: StateWrite): number {
  return records.reduce((sum, { count }) => sum + count, 0)
}
