export interface BackoffOptions {
  /** Of the first pause. Default 100. */
  readonly initialMs?: number
  /** No pause is longer. Default 10,000. */
  readonly maxMs?: number
  /** In [0, 1). */
  readonly random: () => number
}

/** Pauses that double from try to try up to a cap, each shortened by up to half so that many do not come at once. */
export class Backoff {
  readonly #initialMs: number
  readonly #maxMs: number
  readonly #random: () => number
  #tries = 0

  constructor({ initialMs = 100, maxMs = 10_000, random }: BackoffOptions) {
    this.#initialMs = initialMs
    this.#maxMs = maxMs
    this.#random = random
  }

  /** Pauses since the last `reset`. */
  get tries(): number {
    return this.#tries
  }

  nextMs(): number {
    const full = Math.min(this.#maxMs, this.#initialMs * 2 ** Math.min(this.#tries, 30))
    this.#tries++
    return full * (1 - this.#random() / 2)
  }

  reset(): void {
    this.#tries = 0
  }
}
