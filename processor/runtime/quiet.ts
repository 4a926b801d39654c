/** How long a task's input has had nothing to give. */
export class Quiet {
  /** Up to the poll before the last: who was stopped for an hour has polled once more since then. */
  confirmedMs = 0
  #sinceMs: number | null = null
  #forMs = 0

  /** A poll gave nothing. */
  goesOn(nowMs: number): void {
    this.#sinceMs ??= nowMs
    this.confirmedMs = this.#forMs
    this.#forMs = nowMs - this.#sinceMs
  }

  /** Something came, or could not have. */
  end(): void {
    this.#sinceMs = null
    this.#forMs = 0
    this.confirmedMs = 0
  }
}
