/** Bounds what the stores of a process keep in memory beyond what is not yet applied. */
export class CacheBudget {
  readonly maxBytes: number
  usedBytes = 0
  /** Entries asked for that were in memory. */
  hits = 0
  /** Entries asked for that had to be read from the state. */
  misses = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get excessBytes(): number {
    return this.usedBytes - this.maxBytes
  }
}
