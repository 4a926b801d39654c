import type { ExactSum } from './exact-sum.ts'

/** Bytes of an expansion of three terms and its place in the map, as measured on V8. */
const OUTGROWN_BYTES = 200

/**
 * Where accumulators lie: doubles, so many an accumulator, in one array. All zero is an accumulator that has taken
 * in nothing.
 */
export class Cells {
  numbers: Float64Array
  /** Sums that need more terms than their cells hold, by their first cell. */
  outgrown = new Map<number, ExactSum>()

  constructor(length: number) {
    this.numbers = new Float64Array(length)
  }

  get byteLength(): number {
    return this.numbers.byteLength + this.outgrown.size * OUTGROWN_BYTES
  }

  /** What there is stays. */
  resize(length: number): void {
    const resized = new Float64Array(length)
    resized.set(this.numbers.subarray(0, length))
    this.numbers = resized
  }

  /** Accumulators anew. */
  clear(from: number, until: number): void {
    this.numbers.fill(0, from, until)
    if (this.outgrown.size > 0) for (let at = from; at < until; at++) this.outgrown.delete(at)
  }

  /** Keeps these rows of so many cells, in rising order, as rows 0, 1, … */
  keepRows(rows: Int32Array, width: number): void {
    const { numbers, outgrown } = this
    const kept = new Float64Array(rows.length * width)
    this.outgrown = new Map()
    let at = 0
    for (const row of rows) {
      for (let from = row * width; from < (row + 1) * width; from++, at++) {
        kept[at] = numbers[from]!
        const sum = outgrown.size === 0 ? undefined : outgrown.get(from)
        if (sum !== undefined) this.outgrown.set(at, sum)
      }
    }
    this.numbers = kept
  }
}
