import {
  HEADERS_END,
  HEADERS_START,
  KEY_END,
  KEY_START,
  STRIDE,
  VALUE_END,
  VALUE_START,
  type RecordBatch,
} from '../log/batch.ts'
import { MARK_HEADER } from '../schemas/marks.ts'
import { Schema } from '../schemas/schema.ts'
import type { RefusedRow, RowBatch, RowSpan } from './port.ts'
import { schemaIdOf, type WriterSchemas } from './writer-schemas.ts'

export interface BatchLimits {
  readonly maxRows: number
  readonly maxBytes: number
}

export interface RefusedRecord {
  readonly offset: number
  readonly reason: string
  readonly field: string | null
  readonly payload: Buffer
}

/** What is at the head of the queue. `next` is where the partition stands once it is dealt with. */
export type Taken =
  | { readonly kind: 'nothing' }
  /** Marks only. */
  | { readonly kind: 'skipped'; readonly next: number }
  | ({ readonly kind: 'rows' } & Pick<RowBatch, 'spans' | 'count' | 'bytes' | 'next'>)
  /** A barrier: records that cannot become rows. */
  | { readonly kind: 'refused'; readonly records: readonly RefusedRecord[]; readonly next: number }
  /** The schema with this id has to be loaded first. */
  | { readonly kind: 'load'; readonly schemaId: number }

const MAX_REFUSED_RECORDS = 1_000

/** Batches of one partition: kept until they are durable, so that a failed write can be taken again. */
export class PartitionQueue {
  readonly #schemas: WriterSchemas
  readonly #batches: RecordBatch[] = []
  /** Of rows that the destination has refused, by offset. */
  readonly #refusals = new Map<number, RefusedRow>()
  #batchCursor = 0
  #rowCursor = 0
  /** What lies below is taken, whatever a batch still shows. */
  #taken: number
  #heldBytes = 0
  #waitingRecords = 0
  #waitingBytes = 0
  #waitingSinceMs = 0

  constructor(next: number, schemas: WriterSchemas) {
    this.#taken = next
    this.#schemas = schemas
  }

  /** Bytes of all batches in memory. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Records not taken yet, marks included. */
  get waitingRecords(): number {
    return this.#waitingRecords
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Since when the oldest record has waited; meaningless while there is none. */
  get waitingSinceMs(): number {
    return this.#waitingSinceMs
  }

  add(batch: RecordBatch, nowMs: number): void {
    if (this.#waitingRecords === 0) this.#waitingSinceMs = nowMs
    this.#batches.push(batch)
    this.#heldBytes += byteLength(batch)
    this.#waitingRecords += batch.count
    this.#waitingBytes += byteLength(batch)
  }

  /** Everything below `next` is durable: its batches are let go. */
  release(next: number): void {
    let batch = this.#batches[0]
    while (batch !== undefined && batch.nextOffset <= next && this.#batchCursor > 0) {
      this.#heldBytes -= byteLength(batch)
      this.#batches.shift()
      this.#batchCursor--
      batch = this.#batches[0]
    }
    for (const offset of this.#refusals.keys()) if (offset < next) this.#refusals.delete(offset)
  }

  /** Takes everything from `next` on again. */
  rewind(next: number): void {
    this.#taken = next
    this.#batchCursor = 0
    this.#rowCursor = 0
    this.#waitingRecords = 0
    this.#waitingBytes = 0
    for (const batch of this.#batches) {
      this.#waitingRecords += batch.count
      this.#waitingBytes += byteLength(batch)
    }
  }

  /** Rows of a taken batch that turned out not to fit: `take` gives them as a barrier after a `rewind`. */
  refuse(batch: Pick<RowBatch, 'spans'>, rows: readonly RefusedRow[]): void {
    for (const row of rows) {
      let index = row.index
      for (const span of batch.spans) {
        if (index < span.count) {
          this.#refusals.set(span.records.offsetAt(span.indexes[index]!), row)
          break
        }
        index -= span.count
      }
    }
  }

  take(limits: BatchLimits): Taken {
    const collected = new Collected(limits)
    while (this.#batchCursor < this.#batches.length) {
      const batch = this.#batches[this.#batchCursor]!
      if (!this.#takeFrom(batch, collected)) {
        if (collected.missingSchema !== null) return { kind: 'load', schemaId: collected.missingSchema }
        this.#taken = batch.offsetAt(this.#rowCursor)
        break
      }
      this.#taken = Math.max(this.#taken, batch.nextOffset)
      this.#waitingBytes -= byteLength(batch)
      this.#batchCursor++
      this.#rowCursor = 0
      collected.touched = true
    }
    return collected.result(this.#taken)
  }

  /** Takes a batch's records from the cursor on. False: stopped at the cursor. */
  #takeFrom(batch: RecordBatch, collected: Collected): boolean {
    const { positions, buffer, count } = batch
    for (let i = this.#rowCursor; i < count; i++, this.#rowCursor = i, this.#waitingRecords--) {
      const row = i * STRIDE
      if (batch.offsetAt(i) < this.#taken) continue
      if (positions[row + KEY_END]! < 0 && positions[row + HEADERS_END]! > positions[row + HEADERS_START]!) {
        if (batch.headerAt(i, MARK_HEADER) !== undefined) continue
      }
      const schema = this.#schemaAt(batch, i)
      if (typeof schema === 'number') {
        // What was collected so far is taken first; the next `take` finds the same record.
        if (collected.isEmpty) collected.missingSchema = schema
        return false
      }
      if (schema instanceof Schema) {
        const bytes = positions[row + VALUE_END]! - positions[row + VALUE_START]!
        if (!collected.addRow(batch, i, schema, bytes)) return false
      } else {
        const start = positions[row + VALUE_START]!
        const payload = buffer.subarray(start, Math.max(start, positions[row + VALUE_END]!))
        if (!collected.addRefused({ ...schema, offset: batch.offsetAt(i), payload })) return false
      }
    }
    return true
  }

  /** The record's schema, the id of one that is not loaded yet, or why it cannot be a row. */
  #schemaAt(batch: RecordBatch, index: number): Schema | number | { reason: string; field: string | null } {
    if (this.#refusals.size > 0) {
      const refusal = this.#refusals.get(batch.offsetAt(index))
      if (refusal !== undefined) return { reason: refusal.reason, field: refusal.field }
    }
    const row = index * STRIDE
    const end = batch.positions[row + VALUE_END]!
    if (end < 0) return { reason: 'The record has no value: a table takes rows only.', field: null }
    const id = schemaIdOf(batch.buffer, batch.positions[row + VALUE_START]!, end)
    if (typeof id !== 'number') return { reason: id.reason, field: null }
    const schema = this.#schemas.peek(id)
    if (schema === undefined) return id
    return schema instanceof Schema ? schema : { reason: schema.reason, field: null }
  }
}

/** What a batch's records take up; its buffer may be shared with others. */
function byteLength({ positions, count }: RecordBatch): number {
  if (count === 0) return 0
  const last = (count - 1) * STRIDE
  const end = Math.max(
    positions[last + KEY_END]!,
    positions[last + VALUE_END]!,
    positions[last + HEADERS_END]!,
  )
  return end - positions[KEY_START]!
}

/** What one `take` has found so far: rows, or records that are refused, never both. */
class Collected {
  readonly #limits: BatchLimits
  readonly #spans: { records: RecordBatch; schema: Schema; indexes: Int32Array; count: number }[] = []
  readonly #refused: RefusedRecord[] = []
  #count = 0
  #bytes = 0
  missingSchema: number | null = null
  /** Whether a batch was passed, be it of marks alone. */
  touched = false

  constructor(limits: BatchLimits) {
    this.#limits = limits
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.#refused.length === 0 && !this.touched
  }

  addRow(records: RecordBatch, index: number, schema: Schema, bytes: number): boolean {
    if (this.#refused.length > 0) return false
    if (this.#count >= this.#limits.maxRows) return false
    // The first row always fits: a single large one must not stop the partition.
    if (this.#count > 0 && this.#bytes + bytes > this.#limits.maxBytes) return false
    let span = this.#spans.at(-1)
    if (span?.records !== records || span.schema !== schema) {
      const indexes = new Int32Array(Math.min(records.count - index, this.#limits.maxRows - this.#count))
      span = { records, schema, indexes, count: 0 }
      this.#spans.push(span)
    }
    span.indexes[span.count++] = index
    this.#count++
    this.#bytes += bytes
    return true
  }

  addRefused(record: RefusedRecord): boolean {
    if (this.#count > 0 || this.#refused.length >= MAX_REFUSED_RECORDS) return false
    if (this.#refused.length > 0 && this.#bytes + record.payload.length > this.#limits.maxBytes) return false
    this.#refused.push(record)
    this.#bytes += record.payload.length
    return true
  }

  result(next: number): Taken {
    if (this.#refused.length > 0) return { kind: 'refused', records: this.#refused, next }
    if (this.#count > 0) {
      const spans: readonly RowSpan[] = this.#spans
      return { kind: 'rows', spans, count: this.#count, bytes: this.#bytes, next }
    }
    return this.touched ? { kind: 'skipped', next } : { kind: 'nothing' }
  }
}
