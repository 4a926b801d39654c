import {
  HEADERS_END,
  HEADERS_START,
  KEY_END,
  KEY_START,
  OFFSET_DELTA,
  RecordBatch,
  STRIDE,
  VALUE_END,
  VALUE_START,
  type ProduceBatch,
} from '../batch.ts'
import { LogError } from '../errors.ts'
import type { SegmentRef } from './storage.ts'

/**
 * A segment's value, read in place:
 *
 *   [append times: float64 × count, where perRecordTimes] [positions: int32 × STRIDE × count] [records' bytes]
 */
export interface Segment {
  readonly ref: SegmentRef
  readonly value: Buffer
}

const ROW_BYTES = STRIDE * Int32Array.BYTES_PER_ELEMENT
const TIME_BYTES = Float64Array.BYTES_PER_ELEMENT

/**
 * Copies a produced batch into segments of about `maxBytes` of records each (a larger record stays
 * whole). Offsets are dense from `baseOffset`, whatever the batch's own deltas were.
 *
 * @throws LogError INVALID_STATE when the batch's positions do not fit its buffer
 */
export function encodeSegments(
  batch: ProduceBatch,
  at: { partitionId: number; baseOffset: number; timestampMs: number },
  maxBytes: number,
): Segment[] {
  const { count, byteLength } = batch
  if (batch.positions.length < count * STRIDE || batch.buffer.length < byteLength) {
    const where = `${batch.topic}-${batch.partition}`
    throw new LogError(
      'INVALID_STATE',
      `A batch for ${where} is shorter than its ${count} records say: build it anew`,
    )
  }
  const limit = byteLength > maxBytes && isSequential(batch) ? maxBytes : Number.POSITIVE_INFINITY
  const segments: Segment[] = []
  let from = 0
  let startByte = 0
  while (from < count) {
    const end =
      byteLength - startByte <= limit
        ? { row: count, byte: byteLength }
        : splitAfter(batch, from, startByte, limit)
    segments.push(copyRows(batch, at, from, end.row, startByte, end.byte))
    from = end.row
    startByte = end.byte
  }
  return segments
}

/** Where the segment that begins at `from` ends. */
function splitAfter(
  batch: ProduceBatch,
  from: number,
  startByte: number,
  maxBytes: number,
): { row: number; byte: number } {
  const { positions, count } = batch
  let endByte = startByte
  for (let row = from; row < count; row++) {
    const end = rowEnd(positions, row * STRIDE)
    if (row > from && end - startByte > maxBytes) return { row, byte: endByte }
    endByte = Math.max(endByte, end)
  }
  return { row: count, byte: batch.byteLength }
}

/** False where records share bytes or lie out of order, so that no byte parts them. */
function isSequential({ positions, count }: ProduceBatch): boolean {
  let end = 0
  for (let row = 0; row < count * STRIDE; row += STRIDE) {
    if (positions[row + KEY_END]! >= 0 && positions[row + KEY_START]! < end) return false
    if (positions[row + VALUE_END]! >= 0 && positions[row + VALUE_START]! < end) return false
    const headersStart = positions[row + HEADERS_START]!
    if (positions[row + HEADERS_END]! > headersStart && headersStart < end) return false
    end = Math.max(end, rowEnd(positions, row))
  }
  return true
}

function rowEnd(positions: Int32Array, row: number): number {
  return Math.max(positions[row + KEY_END]!, positions[row + VALUE_END]!, positions[row + HEADERS_END]!)
}

function copyRows(
  batch: ProduceBatch,
  at: { partitionId: number; baseOffset: number; timestampMs: number },
  from: number,
  to: number,
  startByte: number,
  endByte: number,
): Segment {
  const count = to - from
  const value = Buffer.allocUnsafeSlow(count * ROW_BYTES + endByte - startByte)
  const table = new Int32Array(value.buffer, 0, count * STRIDE)
  table.set(batch.positions.subarray(from * STRIDE, to * STRIDE))
  if (startByte > 0) moveRows(table, startByte)
  for (let i = 0, row = OFFSET_DELTA; i < count; i++, row += STRIDE) table[row] = i
  batch.buffer.copy(value, count * ROW_BYTES, startByte, endByte)
  const baseOffset = at.baseOffset + from
  return {
    ref: {
      partitionId: at.partitionId,
      baseOffset,
      lastOffset: baseOffset + count - 1,
      timestampMs: at.timestampMs,
      count,
      byteLength: value.length,
      perRecordTimes: false,
    },
    value,
  }
}

/** Makes positions relative to `byte`; what marks a null or an absent field stays at or below zero. */
function moveRows(table: Int32Array, byte: number): void {
  for (let i = 0; i < table.length; i += STRIDE) {
    table[i + KEY_START]! -= byte
    table[i + VALUE_START]! -= byte
    if (table[i + KEY_END]! >= 0) table[i + KEY_END]! -= byte
    if (table[i + VALUE_END]! >= 0) table[i + VALUE_END]! -= byte
    table[i + HEADERS_START]! -= byte
    table[i + HEADERS_END]! -= byte
  }
}

/** The batch that a segment holds: two views over its value, nothing per record. */
export function decodeSegment(segment: Segment, topic: string, partition: number): RecordBatch {
  const { ref, value } = segment
  const timesBytes = ref.perRecordTimes ? ref.count * TIME_BYTES : 0
  const tableStart = value.byteOffset + timesBytes
  return new RecordBatch({
    topic,
    partition,
    buffer: value.subarray(timesBytes + ref.count * ROW_BYTES),
    positions: new Int32Array(value.buffer, tableStart, ref.count * STRIDE),
    count: ref.count,
    baseOffset: ref.baseOffset,
    nextOffset: ref.lastOffset + 1,
    timestampMs: ref.timestampMs,
    timestampsMs: ref.perRecordTimes ? new Float64Array(value.buffer, value.byteOffset, ref.count) : null,
  })
}

/**
 * The part of a batch from offset `from` on, of about `maxBytes`, at least one record. Shares the
 * buffer; the batch itself where it fits. `from` must not lie beyond the last record.
 */
export function cutBatch(batch: RecordBatch, from: number, maxBytes: number): RecordBatch {
  const first = firstRowAt(batch, from)
  const { positions, count } = batch
  const startByte = first === 0 ? 0 : rowEnd(positions, (first - 1) * STRIDE)
  let last = count
  if (batch.buffer.length - startByte > maxBytes) {
    last = first + 1
    while (last < count && rowEnd(positions, last * STRIDE) - startByte <= maxBytes) last++
  }
  if (first === 0 && last === count) return batch

  const rows = positions.slice(first * STRIDE, last * STRIDE)
  const skipped = rows[OFFSET_DELTA]!
  for (let row = OFFSET_DELTA; row < rows.length; row += STRIDE) rows[row]! -= skipped
  return new RecordBatch({
    topic: batch.topic,
    partition: batch.partition,
    buffer: batch.buffer,
    positions: rows,
    count: last - first,
    baseOffset: batch.offsetAt(first),
    nextOffset: last === count ? batch.nextOffset : batch.offsetAt(last - 1) + 1,
    timestampMs: batch.timestampMs,
    timestampsMs: batch.timestampsMs === null ? null : batch.timestampsMs.slice(first, last),
  })
}

function firstRowAt(batch: RecordBatch, offset: number): number {
  let low = 0
  let high = batch.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (batch.offsetAt(middle) < offset) low = middle + 1
    else high = middle
  }
  return low
}

/** Gathers single records of one partition, in offset order, into one segment (compaction). */
export class SegmentMerger {
  readonly #partitionId: number
  readonly #parts: { batch: RecordBatch; row: number }[] = []
  #bytes = 0

  constructor(partitionId: number) {
    this.#partitionId = partitionId
  }

  get byteLength(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#parts.length
  }

  add(batch: RecordBatch, index: number): void {
    this.#parts.push({ batch, row: index })
    const row = index * STRIDE
    this.#bytes += ROW_BYTES + TIME_BYTES + fieldsBytes(batch.positions, row)
  }

  /** True where the record's offset is too far from the first one's for a 32-bit delta. */
  isFull(offset: number): boolean {
    const first = this.#parts[0]
    return first !== undefined && offset - first.batch.offsetAt(first.row) > 0x7fffffff
  }

  finish(): Segment {
    const count = this.#parts.length
    const { batch: firstBatch, row: firstRow } = this.#parts[0]!
    const { batch: lastBatch, row: lastRow } = this.#parts[count - 1]!
    const baseOffset = firstBatch.offsetAt(firstRow)
    const value = Buffer.allocUnsafeSlow(this.#bytes)
    const times = new Float64Array(value.buffer, 0, count)
    const table = new Int32Array(value.buffer, count * TIME_BYTES, count * STRIDE)
    const records = value.subarray(count * (TIME_BYTES + ROW_BYTES))
    let position = 0
    let timestampMs = 0
    this.#parts.forEach(({ batch, row }, i) => {
      times[i] = batch.timestampAt(row)
      timestampMs = Math.max(timestampMs, times[i])
      position = copyRecord(batch, row * STRIDE, records, position, table, i * STRIDE)
      table[i * STRIDE + OFFSET_DELTA] = batch.offsetAt(row) - baseOffset
    })
    return {
      ref: {
        partitionId: this.#partitionId,
        baseOffset,
        lastOffset: lastBatch.offsetAt(lastRow),
        timestampMs,
        count,
        byteLength: value.length,
        perRecordTimes: true,
      },
      value,
    }
  }
}

function fieldsBytes(positions: Int32Array, row: number): number {
  const keyEnd = positions[row + KEY_END]!
  const valueEnd = positions[row + VALUE_END]!
  return (
    (keyEnd < 0 ? 0 : keyEnd - positions[row + KEY_START]!) +
    (valueEnd < 0 ? 0 : valueEnd - positions[row + VALUE_START]!) +
    (positions[row + HEADERS_END]! - positions[row + HEADERS_START]!)
  )
}

function copyRecord(
  batch: RecordBatch,
  row: number,
  target: Buffer,
  position: number,
  table: Int32Array,
  targetRow: number,
): number {
  const { buffer, positions } = batch
  for (const field of [KEY_START, VALUE_START, HEADERS_START]) {
    const start = positions[row + field]!
    const end = positions[row + field + 1]!
    table[targetRow + field] = position
    if (end >= start && end >= 0) position += buffer.copy(target, position, start, end)
    table[targetRow + field + 1] = end < 0 && field !== HEADERS_START ? -1 : position
  }
  return position
}
