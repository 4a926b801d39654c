import type { ExactSum } from './exact-sum.ts'

/** Bytes of an expansion of three terms and its place in the map, as measured on V8. */
const OUTGROWN_BYTES = 200
/** Bytes of a held value's place in the map, beside its own. */
const HELD_BYTES = 100

/** A value that is no number. */
interface Held {
  readonly value: unknown
  readonly bytes: number
}

/**
 * Where accumulators lie: doubles, so many an accumulator, in one array. All zero is an accumulator that has taken
 * in nothing.
 */
export class Cells {
  numbers: Float64Array<ArrayBuffer>
  /** Sums that need more terms than their cells hold, by their first cell. */
  outgrown = new Map<number, ExactSum>()
  /** Values that are no numbers, by their accumulator's first cell. */
  #held = new Map<number, Held>()
  #heldBytes = 0

  constructor(length: number) {
    this.numbers = new Float64Array(length)
  }

  get byteLength(): number {
    return (
      this.numbers.byteLength +
      this.outgrown.size * OUTGROWN_BYTES +
      this.#held.size * HELD_BYTES +
      this.#heldBytes
    )
  }

  /** undefined: none. */
  held(at: number): unknown {
    return this.#held.get(at)?.value
  }

  /** @param bytes what it takes, about */
  hold(at: number, value: unknown, bytes: number): void {
    this.#heldBytes += bytes - (this.#held.get(at)?.bytes ?? 0)
    this.#held.set(at, { value, bytes })
  }

  /** What there is stays; the array of before is empty then, since left to the garbage collector it would outlive many. */
  resize(length: number): void {
    this.numbers = new Float64Array(this.numbers.buffer.transfer(length * Float64Array.BYTES_PER_ELEMENT))
  }

  /** Accumulators anew. */
  clear(from: number, until: number): void {
    this.numbers.fill(0, from, until)
    if (this.outgrown.size > 0) for (let at = from; at < until; at++) this.outgrown.delete(at)
    if (this.#held.size > 0) for (let at = from; at < until; at++) this.#letGo(at)
  }

  /** Keeps these rows of so many cells, in rising order, as rows 0, 1, … */
  keepRows(rows: Int32Array, width: number): void {
    const { numbers, outgrown } = this
    const held = this.#held
    const kept = new Float64Array(rows.length * width)
    this.outgrown = new Map()
    this.#held = new Map()
    this.#heldBytes = 0
    let at = 0
    for (const row of rows) {
      for (let from = row * width; from < (row + 1) * width; from++, at++) {
        kept[at] = numbers[from]!
        const sum = outgrown.size === 0 ? undefined : outgrown.get(from)
        if (sum !== undefined) this.outgrown.set(at, sum)
        const value = held.size === 0 ? undefined : held.get(from)
        if (value !== undefined) this.hold(at, value.value, value.bytes)
      }
    }
    this.numbers = kept
  }

  #letGo(at: number): void {
    this.#heldBytes -= this.#held.get(at)?.bytes ?? 0
    this.#held.delete(at)
  }
}
