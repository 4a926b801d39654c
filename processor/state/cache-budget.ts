/** Bounds what the stores of a process keep in memory beyond what is not yet applied. */
export class CacheBudget {
  readonly maxBytes: number
  usedBytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get excessBytes(): number {
    return this.usedBytes - this.maxBytes
  }
}
