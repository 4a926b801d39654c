import { SEGMENT_BYTES } from '../keys.ts'
import { segmentEnd } from './key-names.ts'
import { RespWriter } from './resp.ts'

const BODY_BYTES = 4 * 1024
/** Bodies that are kept for the next chunk. */
const SPARE_BODIES = 8

/** The rows of one call that go to one segment's hash. */
export class SegmentRows {
  segment: Buffer = Buffer.alloc(0)
  /** Fields and values, encoded. */
  readonly body = new RespWriter(BODY_BYTES)
  /** Consecutive rows of one kind; negative counts are deletes. */
  readonly runs: number[] = []
  /** Where each row stands in the caller's order; filled by readers only. */
  readonly indexes: number[] = []
}

/** Sorts rows by the segment that their key begins with. */
export class Segments {
  readonly #bySegment = new Map<string, SegmentRows>()
  #spare: SegmentRows[] = []
  #last: SegmentRows | null = null

  clear(): void {
    for (const rows of this.#bySegment.values()) {
      if (this.#spare.length === SPARE_BODIES) break
      this.#spare.push(rows)
    }
    this.#bySegment.clear()
    this.#last = null
  }

  get size(): number {
    return this.#bySegment.size
  }

  values(): IterableIterator<SegmentRows> {
    return this.#bySegment.values()
  }

  /** The rows of the segment of the key at [start, end). */
  of(buffer: Buffer, start: number, end: number): SegmentRows {
    // Neighbours mostly share their segment.
    if (this.#last !== null && beginsWith(buffer, start, end, this.#last.segment)) return this.#last
    const until = segmentEnd(start, end)
    const name = buffer.toString('latin1', start, until)
    let rows = this.#bySegment.get(name)
    if (rows === undefined) {
      rows = this.#spare.pop() ?? new SegmentRows()
      rows.segment = Buffer.from(buffer.subarray(start, until))
      rows.body.clear()
      rows.runs.length = 0
      rows.indexes.length = 0
      this.#bySegment.set(name, rows)
    }
    this.#last = rows
    return rows
  }
}

function beginsWith(buffer: Buffer, start: number, end: number, segment: Buffer): boolean {
  if (segment.length !== SEGMENT_BYTES || end - start < SEGMENT_BYTES) return false
  // From behind: segments of one store differ in their last bytes.
  for (let i = SEGMENT_BYTES - 1; i >= 0; i--) if (buffer[start + i] !== segment[i]) return false
  return true
}
