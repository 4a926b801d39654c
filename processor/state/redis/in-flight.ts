/** Calls in flight, at most `limit`; what fails is thrown when the others have ended too, so that none is forgotten. */
export class InFlight {
  readonly #limit: number
  #calls: Promise<unknown>[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  async add(call: Promise<unknown>): Promise<void> {
    // Handled where it is awaited below; until then Node would call it unhandled.
    call.catch(() => undefined)
    this.#calls.push(call)
    if (this.#calls.length < this.#limit) return
    try {
      await this.#calls.shift()
    } catch (error) {
      await Promise.allSettled(this.#calls)
      throw error
    }
  }

  async end(): Promise<void> {
    const ended = await Promise.allSettled(this.#calls)
    this.#calls = []
    for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason
  }
}
