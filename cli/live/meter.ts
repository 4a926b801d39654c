/** How fast a total grows, over the last while. */
export class Meter {
  readonly #windowMs: number
  /** Oldest first. */
  readonly #samples: { readonly atMs: number; readonly total: number }[] = []

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** @returns how much is added a second; null: not seen for long enough to say */
  add(atMs: number, total: number): number | null {
    const samples = this.#samples
    samples.push({ atMs, total })
    while (samples.length > 2 && samples[1]!.atMs <= atMs - this.#windowMs) samples.shift()
    const [oldest] = samples
    const elapsedMs = atMs - oldest!.atMs
    // A look right behind another says little.
    if (elapsedMs < LEAST_MS) return null
    return (Math.max(0, total - oldest!.total) / elapsedMs) * 1_000
  }
}

const LEAST_MS = 400
