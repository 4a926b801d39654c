import {
  HEADERS_END,
  HEADERS_START,
  KEY_END,
  KEY_START,
  STRIDE,
  VALUE_END,
  VALUE_START,
  ByteWriter,
  type ProduceBatch,
} from '../../batch.ts'
import { LogError } from '../../errors.ts'
import { writeInt64 } from '../requests/wire.ts'
import { codecNumber, compress, type Compression } from './compression.ts'
import { crc32c } from './crc32c.ts'
import * as layout from './layout.ts'

export interface RecordBatchOptions {
  /** -1: neither idempotent nor transactional. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
  readonly compression: Compression
  /** Time of every record, epoch ms; a topic with append times overwrites it. */
  readonly timestampMs: number
}

const MAGIC_V2 = 2
const UNKNOWN_LEADER_EPOCH = -1
/** Up to here a loop is quicker than a call into the engine. */
const SMALL_BYTES = 40

/** At most so many bytes does `encodeRecordBatch` write for it, uncompressed. */
export function encodedSizeBound(batch: ProduceBatch): number {
  const { positions, count } = batch
  let bytes = layout.RECORDS + count * layout.MAX_RECORD_OVERHEAD
  for (let row = 0; row < count * STRIDE; row += STRIDE) {
    const keyEnd = positions[row + KEY_END]!
    const valueEnd = positions[row + VALUE_END]!
    if (keyEnd >= 0) bytes += keyEnd - positions[row + KEY_START]!
    if (valueEnd >= 0) bytes += valueEnd - positions[row + VALUE_START]!
    bytes += positions[row + HEADERS_END]! - positions[row + HEADERS_START]!
  }
  return bytes
}

/**
 * Writes the records as one batch of Kafka's format v2 at the writer's position. Offsets are dense,
 * whatever the batch's own deltas were.
 * @throws LogError INVALID_STATE when the batch's positions do not fit its buffer, or it is empty;
 *   ZstdMissingError for zstd on a Node older than 22.15
 */
export function encodeRecordBatch(batch: ProduceBatch, options: RecordBatchOptions, into: ByteWriter): void {
  const { count } = batch
  if (count === 0 || batch.positions.length < count * STRIDE || batch.buffer.length < batch.byteLength) {
    throw new LogError(
      'INVALID_STATE',
      `A batch for ${batch.topic}-${batch.partition} is shorter than its ${count} records say, or empty: build it anew`,
    )
  }
  const start = into.position
  if (options.compression === 'none') {
    into.ensure(encodedSizeBound(batch))
    into.position = writeRecords(batch, into.buffer, start + layout.RECORDS)
  } else {
    const compressed = compressRecords(batch, options.compression)
    into.ensure(layout.RECORDS + compressed.length)
    into.position += layout.RECORDS
    into.bytes(compressed)
  }
  writeHeader(into.buffer, start, into.position, count, options)
}

/** Where records lie that are compressed next: what is to be sent holds what they come to, and no more. */
let scratch = new ByteWriter()
const KEPT_SCRATCH_BYTES = 4 * 1024 * 1024

function compressRecords(batch: ProduceBatch, compression: Compression): Buffer {
  scratch.ensure(encodedSizeBound(batch))
  const records = scratch.buffer.subarray(0, writeRecords(batch, scratch.buffer, 0))
  if (records.buffer.byteLength > KEPT_SCRATCH_BYTES) scratch = new ByteWriter()
  return compress(compression, records)
}

function writeHeader(
  buffer: Buffer,
  start: number,
  end: number,
  count: number,
  options: RecordBatchOptions,
): void {
  const attributes = codecNumber(options.compression) | (options.isTransactional ? layout.TRANSACTIONAL : 0)
  writeInt64(buffer, 0, start + layout.BASE_OFFSET)
  buffer.writeInt32BE(end - start - layout.LOG_OVERHEAD, start + layout.LENGTH)
  buffer.writeInt32BE(UNKNOWN_LEADER_EPOCH, start + layout.LEADER_EPOCH)
  buffer.writeInt8(MAGIC_V2, start + layout.MAGIC)
  buffer.writeInt16BE(attributes, start + layout.ATTRIBUTES)
  buffer.writeInt32BE(count - 1, start + layout.LAST_OFFSET_DELTA)
  writeInt64(buffer, options.timestampMs, start + layout.BASE_TIMESTAMP)
  writeInt64(buffer, options.timestampMs, start + layout.MAX_TIMESTAMP)
  writeInt64(buffer, options.producerId, start + layout.PRODUCER_ID)
  buffer.writeInt16BE(options.producerEpoch, start + layout.PRODUCER_EPOCH)
  buffer.writeInt32BE(options.baseSequence, start + layout.BASE_SEQUENCE)
  buffer.writeInt32BE(count, start + layout.COUNT)
  buffer.writeUInt32BE(crc32c(buffer, start + layout.ATTRIBUTES, end), start + layout.CRC)
}

/** Into a buffer that has room for it all; gives where it ends. */
function writeRecords(batch: ProduceBatch, out: Buffer, start: number): number {
  const { buffer, positions, count } = batch
  let at = start
  for (let i = 0, row = 0; i < count; i++, row += STRIDE) {
    const keyStart = positions[row + KEY_START]!
    const valueStart = positions[row + VALUE_START]!
    const headersStart = positions[row + HEADERS_START]!
    const keyBytes = lengthOf(keyStart, positions[row + KEY_END]!)
    const valueBytes = lengthOf(valueStart, positions[row + VALUE_END]!)
    const headersBytes = positions[row + HEADERS_END]! - headersStart
    const bytes =
      2 +
      varintBytes(i) +
      varintBytes(keyBytes) +
      Math.max(0, keyBytes) +
      varintBytes(valueBytes) +
      Math.max(0, valueBytes) +
      Math.max(1, headersBytes)
    at = writeVarint(out, at, bytes)
    out[at++] = 0
    out[at++] = 0
    at = writeVarint(out, at, i)
    at = writeVarint(out, at, keyBytes)
    if (keyBytes > 0) at = copy(buffer, keyStart, keyBytes, out, at)
    at = writeVarint(out, at, valueBytes)
    if (valueBytes > 0) at = copy(buffer, valueStart, valueBytes, out, at)
    if (headersBytes > 0) at = copy(buffer, headersStart, headersBytes, out, at)
    else out[at++] = 0
  }
  return at
}

function lengthOf(start: number, end: number): number {
  return end < 0 ? -1 : end - start
}

function copy(source: Buffer, from: number, bytes: number, out: Buffer, at: number): number {
  if (bytes <= SMALL_BYTES) for (let i = 0; i < bytes; i++) out[at + i] = source[from + i]!
  else source.copy(out, at, from, from + bytes)
  return at + bytes
}

function varintBytes(value: number): number {
  const bits = (value << 1) ^ (value >> 31)
  if (bits >>> 0 < 0x80) return 1
  return Math.ceil((32 - Math.clz32(bits)) / 7)
}

function writeVarint(out: Buffer, at: number, value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  out[at++] = rest
  return at
}
