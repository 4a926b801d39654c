/** A wait that an event ends early; an event before the wait ends it at once. One waits at a time. */
export class Signal {
  #isRaised = false
  #end: (() => void) | null = null

  raise(): void {
    this.#isRaised = true
    this.#end?.()
  }

  async wait(maxMs: number): Promise<void> {
    if (!this.#isRaised) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(maxMs, 2 ** 31 - 1))
        this.#end = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#end = null
    }
    this.#isRaised = false
  }
}
