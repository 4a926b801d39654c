const LONGEST_TIMER_MS = 2 ** 31 - 1

/** A wait that an event ends early. One at a time; an event without a wait is not kept. */
export class Wait {
  #end: (() => void) | null = null

  begin(maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.end(), Math.min(maxMs, LONGEST_TIMER_MS))
      this.#end = () => {
        clearTimeout(timer)
        this.#end = null
        resolve()
      }
    })
  }

  end(): void {
    this.#end?.()
  }
}
