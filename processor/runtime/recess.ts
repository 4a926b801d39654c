import type { Timer } from '../../config/clock.ts'

/** A pause that a loop goes on around: it asks whether the pause is over, and is woken when it is. */
export class Recess {
  readonly #timer: Timer
  readonly #signal: AbortSignal
  readonly #wake: () => void
  #begun = Promise.withResolvers<undefined>()
  /** null: none; else whether the time is over. */
  #state: { isOver: boolean } | null = null

  constructor(timer: Timer, signal: AbortSignal, wake: () => void) {
    this.#timer = timer
    this.#signal = signal
    this.#wake = wake
  }

  get isOn(): boolean {
    return this.#state !== null
  }

  get isOver(): boolean {
    return this.#state?.isOver ?? false
  }

  /** Resolves when a pause begins that is not on yet. */
  begins(): Promise<undefined> {
    return this.#begun.promise
  }

  /** Begins, or begins again. */
  begin(ms: number): void {
    const state = { isOver: ms <= 0 }
    this.#state = state
    this.#begun.resolve(undefined)
    if (state.isOver) return
    void this.#timer.sleep(ms, this.#signal).then(() => {
      state.isOver = true
      this.#wake()
    })
  }

  end(): void {
    this.#state = null
    this.#begun = Promise.withResolvers<undefined>()
  }
}
