import type { Cells } from './cells.ts'

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

  /** The exact sum, correctly rounded (half to even); never a negative zero. */
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
    return high + 0
  }
}

/** A sum in cells: its two terms, the greater first. NaN in the first: it has outgrown them. */
export const SUM_CELLS = 2

/** Adds a finite number below 2^960 to the sum at `at`. */
export function addToSum(cells: Cells, at: number, x: number): void {
  const { numbers } = cells
  const high = numbers[at]!
  const low = numbers[at + 1]!
  if (Number.isNaN(high)) {
    cells.outgrown.get(at)!.add(x)
    return
  }
  // Twice Knuth's two-sum: what a sum of two doubles loses is a double, whichever is the greater.
  const sum = x + low
  const lowPart = sum - x
  const lost = x - (sum - lowPart) + (low - lowPart)
  const top = sum + high
  const highPart = top - sum
  const rest = sum - (top - highPart) + (high - highPart)
  numbers[at] = top
  if (lost === 0) numbers[at + 1] = rest
  else if (rest === 0) numbers[at + 1] = lost
  else joinTerms(cells, at, top, rest, lost)
}

/** Three terms, greatest first, in two cells where they fit. */
function joinTerms(cells: Cells, at: number, top: number, rest: number, lost: number): void {
  const { numbers } = cells
  const low = rest + lost
  if (lost - (low - rest) === 0) {
    const high = top + low
    numbers[at] = high
    numbers[at + 1] = low - (high - top)
    return
  }
  const sum = new ExactSum()
  for (const term of [lost, rest, top]) sum.add(term)
  numbers[at] = NaN
  numbers[at + 1] = 0
  cells.outgrown.set(at, sum)
}

/** Adds the sum at `from` of other cells to the one at `at`. */
export function mergeSum(cells: Cells, at: number, others: Cells, from: number): void {
  const terms = others.outgrown.size > 0 ? others.outgrown.get(from)?.terms : undefined
  if (terms !== undefined) {
    for (const term of terms) addToSum(cells, at, term)
    return
  }
  addToSum(cells, at, others.numbers[from + 1]!)
  addToSum(cells, at, others.numbers[from]!)
}

/** The exact sum, correctly rounded (half to even); 0 where there is nothing in it, never a negative zero. */
export function sumOf(cells: Cells, at: number): number {
  const high = cells.numbers[at]!
  // A sum of two doubles is rounded once by itself.
  return Number.isNaN(high) ? cells.outgrown.get(at)!.value() : high + cells.numbers[at + 1]!
}
