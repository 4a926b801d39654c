import { KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../../log/batch.ts'
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
    if (this.#skip?.(buffer.subarray(keyStart, keyEnd)) === true) return 0
    const segment = segmentEnd(keyStart, keyEnd)
    // What is dropped by the same write need not be written.
    if (this.#dropped.size > 0 && this.#dropped.has(buffer.toString('latin1', keyStart, segment))) return 0
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
}
