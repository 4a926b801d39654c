/** Totals that move with the task's position, in its task record: exact over crashes. */
export class Counters {
  readonly #totals = new Map<string, number>()

  add(name: string, by: number): void {
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + by)
  }

  restore(totals: Readonly<Record<string, number>>): void {
    for (const [name, total] of Object.entries(totals)) this.#totals.set(name, total)
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#totals)
  }
}
