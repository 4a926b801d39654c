/** More than passes between two polls, unless the process, the machine or its clock stood still or leapt. */
const MOST_MS = 1_000

/** For how long a task's input has had nothing to give, as far as polls have seen it. */
export class Quiet {
  forMs = 0
  #lastMs: number | null = null

  /** A poll gave nothing. */
  goesOn(nowMs: number): void {
    if (this.#lastMs !== null) this.forMs += Math.min(Math.max(0, nowMs - this.#lastMs), MOST_MS)
    this.#lastMs = nowMs
  }

  /** Something came, or could not have. */
  end(): void {
    this.forMs = 0
    this.#lastMs = null
  }
}
