/** Totals that move with the task's position, in its task record: exact over crashes. */
export class Counters {
  readonly #totals = new Map<string, number>()
  /** As they were when the task was opened here. */
  readonly #opened = new Map<string, number>()

  add(name: string, by: number): void {
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + by)
  }

  restore(totals: Readonly<Record<string, number>>): void {
    for (const [name, total] of Object.entries(totals)) {
      this.#totals.set(name, total)
      this.#opened.set(name, total)
    }
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#totals)
  }

  /** What was added since the task was opened here. */
  gained(): Map<string, number> {
    return new Map([...this.#totals].map(([name, total]) => [name, total - (this.#opened.get(name) ?? 0)]))
  }
}
