/** The records within one batch. The hot path: nothing is allocated, and no byte is read twice. */
import {
  HEADERS_END,
  HEADERS_START,
  KEY_END,
  KEY_START,
  OFFSET_DELTA,
  STRIDE,
  VALUE_END,
  VALUE_START,
} from '../../batch.ts'
import { RecordTable } from '../hardening/large-batches.ts'
import { RecordBatchError } from './errors.ts'

/** A batch's records, uncompressed, with what its header says about them. */
export interface RecordsSection {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  readonly count: number
  readonly baseOffset: number
  readonly lastOffsetDelta: number
  readonly baseTimestampMs: number
  /** Of all records, where the topic has append times; else null. */
  readonly appendTimeMs: number | null
}

interface From {
  readonly topic: string
  readonly partition: number
}

const ABORT = 0
const CONTROL_KEY_BYTES = 4
/** A position that fits no record, so that whoever checks next refuses it. */
const BEYOND = 0x7fffffff

/** Where the last varint ended: a function gives back one number, and an object a varint would be garbage. */
let cursor = 0

/**
 * Appends a row a record, from `fetchOffset` on, with offsets counted from `baseOffset`.
 * @throws RecordBatchError where the records do not fill their bytes exactly
 */
export function parseRecords(
  from: From,
  section: RecordsSection,
  table: RecordTable,
  baseOffset: number,
  fetchOffset: number,
): void {
  const { buffer, end, count, appendTimeMs, baseTimestampMs, lastOffsetDelta } = section
  const { positions } = table
  const shift = section.baseOffset - baseOffset
  const firstDelta = fetchOffset - section.baseOffset
  const firstRow = table.count
  let times: Float64Array | null = null
  let sameDeltaMs = 0
  let previousDelta = -1
  let row = firstRow
  let at = section.start
  for (let i = 0; i < count; i++) {
    const length = varint(buffer, at)
    const recordEnd = cursor + length
    if (length < 0 || recordEnd > end) return fail(from, section, i, 'is longer than its batch')
    // Its attributes, one byte, have no meaning yet.
    const deltaMs = varlong(buffer, cursor + 1)
    const delta = varint(buffer, cursor)
    if (delta <= previousDelta || delta > lastOffsetDelta) return fail(from, section, i, 'has a wrong offset')
    previousDelta = delta
    if (!parseFields(buffer, cursor, recordEnd, positions, row * STRIDE)) {
      return fail(from, section, i, 'has a key, value or headers that do not fit it')
    }
    at = recordEnd
    if (delta < firstDelta) continue

    positions[row * STRIDE + OFFSET_DELTA] = shift + delta
    if (appendTimeMs === null) {
      if (row === firstRow) sameDeltaMs = deltaMs
      else if (times === null && deltaMs !== sameDeltaMs) {
        times = table.timestamps(firstRow).fill(baseTimestampMs + sameDeltaMs, firstRow, row)
      }
      if (times !== null) times[row] = baseTimestampMs + deltaMs
    }
    row++
  }
  if (at !== end) return fail(from, section, count, `would begin ${end - at} bytes before the batch's end`)
  table.count = row
  if (times === null) table.setTimestamp(firstRow, appendTimeMs ?? baseTimestampMs + sameDeltaMs)
}

/** Key, value and headers from `at` on; false where they do not end with the record. */
function parseFields(
  buffer: Buffer,
  at: number,
  recordEnd: number,
  positions: Int32Array,
  base: number,
): boolean {
  const keyLength = varint(buffer, at)
  const keyEnd = keyLength < 0 ? cursor : cursor + keyLength
  if (keyLength < -1 || keyEnd > recordEnd) return false
  positions[base + KEY_START] = cursor
  positions[base + KEY_END] = keyLength < 0 ? -1 : keyEnd
  const valueLength = varint(buffer, keyEnd)
  const valueEnd = valueLength < 0 ? cursor : cursor + valueLength
  if (valueLength < -1 || valueEnd > recordEnd) return false
  positions[base + VALUE_START] = cursor
  positions[base + VALUE_END] = valueLength < 0 ? -1 : valueEnd
  const headerCount = varint(buffer, valueEnd)
  if (headerCount !== 0) skipHeaders(buffer, headerCount, recordEnd)
  positions[base + HEADERS_START] = headerCount === 0 ? cursor : valueEnd
  positions[base + HEADERS_END] = cursor
  return cursor === recordEnd
}

/** Leaves the cursor behind the last header, or beyond every record. */
function skipHeaders(buffer: Buffer, count: number, end: number): void {
  if (count < 0) cursor = BEYOND
  for (let i = 0; i < count; i++) {
    // Also what ends a count that lies.
    if (cursor >= end) {
      cursor = BEYOND
      return
    }
    const nameLength = varint(buffer, cursor)
    if (nameLength < 0) cursor = BEYOND
    const valueLength = varint(buffer, cursor + nameLength)
    if (valueLength < -1) cursor = BEYOND
    else if (valueLength > 0) cursor += valueLength
  }
}

/** Whether a control batch ends its producer's transaction by abort. @throws RecordBatchError */
export function isAbortMarker(from: From, control: RecordsSection): boolean {
  if (control.count === 0) return false
  const table = new RecordTable(control.count)
  parseRecords(from, control, table, control.baseOffset, control.baseOffset)
  const keyStart = table.positions[KEY_START]!
  if (table.positions[KEY_END]! - keyStart < CONTROL_KEY_BYTES) {
    return fail(from, control, 0, 'has no key that says what it controls')
  }
  return control.buffer.readInt16BE(keyStart + 2) === ABORT
}

/** Leaves the cursor behind it; beyond every record where it has more than five bytes. */
function varint(buffer: Buffer, at: number): number {
  let byte = buffer[at]!
  if (byte < 0x80) {
    cursor = at + 1
    return (byte >>> 1) ^ -(byte & 1)
  }
  let bits = byte & 0x7f
  for (let shift = 7; shift < 35; shift += 7) {
    byte = buffer[++at]!
    bits |= (byte & 0x7f) << shift
    if (byte < 0x80) {
      cursor = at + 1
      return (bits >>> 1) ^ -(bits & 1)
    }
  }
  cursor = BEYOND
  return 0
}

/** As `varint`, up to ten bytes; exact up to 2^53. */
function varlong(buffer: Buffer, at: number): number {
  let byte = buffer[at]!
  if (byte < 0x80) {
    cursor = at + 1
    return (byte >>> 1) ^ -(byte & 1)
  }
  let bits = byte & 0x7f
  for (let unit = 0x80; unit <= 2 ** 63; unit *= 0x80) {
    byte = buffer[++at]!
    bits += (byte & 0x7f) * unit
    if (byte < 0x80) {
      cursor = at + 1
      return bits % 2 === 0 ? bits / 2 : -(bits + 1) / 2
    }
  }
  cursor = BEYOND
  return 0
}

function fail(from: From, section: RecordsSection, index: number, what: string): never {
  throw new RecordBatchError(
    { topic: from.topic, partition: from.partition, offset: section.baseOffset },
    `record ${index} of ${section.count} of the batch ${what}`,
  )
}
