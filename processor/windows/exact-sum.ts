/**
 * A sum of doubles without rounding: a non-overlapping expansion (Shewchuk 1997), rounded once
 * when it is read. So the result does not depend on the order of the additions, nor on how they
 * were split over partitions. Usually two terms. Inputs below 2^960 cannot overflow it.
 */
export class ExactSum {
  /** Non-overlapping, smallest magnitude first. */
  readonly terms: number[] = []

  add(addend: number): void {
    const terms = this.terms
    let x = addend
    let kept = 0
    for (let i = 0; i < terms.length; i++) {
      let y = terms[i]!
      if (Math.abs(x) < Math.abs(y)) {
        const swap = x
        x = y
        y = swap
      }
      const high = x + y
      const low = y - (high - x)
      if (low !== 0) terms[kept++] = low
      x = high
    }
    terms[kept++] = x
    terms.length = kept
  }

  merge(other: ExactSum): void {
    for (const term of other.terms) this.add(term)
  }

  /** The exact sum, correctly rounded (half to even). */
  value(): number {
    const terms = this.terms
    let i = terms.length
    if (i === 0) return 0
    let high = terms[--i]!
    let low = 0
    while (i > 0) {
      const x = high
      const y = terms[--i]!
      high = x + y
      low = y - (high - x)
      if (low !== 0) break
    }
    // A tail of exactly half a unit was rounded to even; what lies below it decides after all.
    if (i > 0 && ((low < 0 && terms[i - 1]! < 0) || (low > 0 && terms[i - 1]! > 0))) {
      const doubled = low * 2
      const moved = high + doubled
      if (moved - high === doubled) high = moved
    }
    return high
  }
}
