import { KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../../log/batch.ts'
import { SEGMENT_BYTES } from '../keys.ts'
import type { StateRecords, StateWrite } from '../port.ts'
import { segmentEnd } from './key-names.ts'
import type { Segments } from './segments.ts'

/**
 * Lua's stack holds 8,000 values, a script's own among them, and a row is two of them. A chunk also holds the
 * server for its time, about 1 µs a row.
 */
const CHUNK_ROWS = 3_900
/** A chunk ends with the row that passes it. */
const CHUNK_BYTES = 2 ** 20

const CHUNK_DROPS = 1_000

/** Cuts a write into chunks: its rows in their order, then the segments to drop. */
export class ApplyChunks {
  /** Rows of the chunk last filled. */
  written = 0
  deleted = 0
  /** The segments that the chunk drops. */
  drops: readonly Buffer[] = []
  readonly #records: readonly StateRecords[]
  readonly #skip: StateWrite['skip']
  readonly #dropPrefixes: readonly Buffer[]
  readonly #dropped: ReadonlySet<string>
  #batch = 0
  #row = 0
  #drop = 0
  /** The segment of the last row, and whether its rows are left out. */
  readonly #last = Buffer.alloc(SEGMENT_BYTES)
  #isLastLeftOut: boolean | null = null

  constructor({ records, skip, dropPrefixes }: StateWrite) {
    this.#records = records
    this.#skip = skip
    this.#dropPrefixes = dropPrefixes
    this.#dropped = new Set(dropPrefixes.map((prefix) => prefix.toString('latin1')))
  }

  /** Fills `segments` with the next rows. @returns whether the chunk is the last */
  next(segments: Segments): boolean {
    segments.clear()
    this.written = 0
    this.deleted = 0
    this.drops = []
    if (!this.#nextRows(segments)) return false
    this.drops = this.#dropPrefixes.slice(this.#drop, this.#drop + CHUNK_DROPS)
    this.#drop += this.drops.length
    return this.#drop === this.#dropPrefixes.length
  }

  /** @returns whether all rows are out */
  #nextRows(segments: Segments): boolean {
    let bytes = 0
    for (; this.#batch < this.#records.length; this.#batch++) {
      const { buffer, positions, count } = this.#records[this.#batch]!
      for (; this.#row < count; this.#row++) {
        if (this.written + this.deleted === CHUNK_ROWS || bytes >= CHUNK_BYTES) return false
        const row = this.#row * STRIDE
        bytes += this.#add(
          segments,
          buffer,
          positions[row + KEY_START]!,
          positions[row + KEY_END]!,
          positions[row + VALUE_START]!,
          positions[row + VALUE_END]!,
        )
      }
      this.#row = 0
    }
    return true
  }

  #add(
    segments: Segments,
    buffer: Buffer,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    const segment = segmentEnd(keyStart, keyEnd)
    if (this.#isLeftOut(buffer, keyStart, segment)) return 0
    const { body, runs } = segments.of(buffer, keyStart, keyEnd)
    const before = body.position
    const last = runs.length - 1
    body.bulk(buffer, segment, keyEnd)
    if (valueEnd < 0) {
      if (last >= 0 && runs[last]! < 0) runs[last]!--
      else runs.push(-1)
      this.deleted++
    } else {
      body.bulk(buffer, valueStart, valueEnd)
      if (last >= 0 && runs[last]! > 0) runs[last]!++
      else runs.push(1)
      this.written++
    }
    return body.position - before
  }

  #isLeftOut(buffer: Buffer, start: number, end: number): boolean {
    if (this.#skip === undefined && this.#dropped.size === 0) return false
    const length = end - start
    const last = this.#isLastLeftOut
    if (last !== null && length === SEGMENT_BYTES && this.#last.compare(buffer, start, end) === 0) return last
    const segment = buffer.subarray(start, end)
    segment.copy(this.#last)
    // What is dropped by the same write need not be written.
    const isLeftOut = this.#skip?.(segment) === true || this.#dropped.has(segment.toString('latin1'))
    this.#isLastLeftOut = length === SEGMENT_BYTES ? isLeftOut : null
    return isLeftOut
  }
}
