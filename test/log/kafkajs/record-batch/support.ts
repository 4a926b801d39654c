import fc from 'fast-check'
import { BatchBuilder, ByteWriter, type Headers, type RecordBatch } from '../../../../log/batch.ts'
import { crc32c } from '../../../../log/kafkajs/record-batch/crc32c.ts'
import { decodeRecords, type DecodedRecords } from '../../../../log/kafkajs/record-batch/decode.ts'
import { encodeRecordBatch, type RecordBatchOptions } from '../../../../log/kafkajs/record-batch/encode.ts'
import { kafkajs, type KafkaJsMessage } from './kafkajs.ts'

export interface PlainRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Headers
}

export const OPTIONS: RecordBatchOptions = {
  producerId: 7,
  producerEpoch: 3,
  baseSequence: 11,
  isTransactional: false,
  compression: 'none',
  timestampMs: 1_767_225_600_123,
}

const bytes = fc
  .oneof(
    { weight: 8, arbitrary: fc.uint8Array({ maxLength: 70 }) },
    fc.uint8Array({ maxLength: 400, size: 'max' }),
  )
  .map((array) => Buffer.from(array))
const name = fc.string({ maxLength: 12 }).filter((text) => !(text in {}))

const plainRecord: fc.Arbitrary<PlainRecord> = fc.record({
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.oneof(
    { weight: 3, arbitrary: fc.constant({}) },
    fc.dictionary(name, bytes, { maxKeys: 3, noNullPrototype: true }),
  ),
})

export const plainRecords = fc.array(plainRecord, { minLength: 1, maxLength: 80, size: 'max' })

export const textRecord = (value: string, key: string | null = null): PlainRecord => ({
  key: key === null ? null : Buffer.from(key),
  value: Buffer.from(value),
  headers: {},
})

export function builderOf(records: readonly PlainRecord[], topic = 't', partition = 0): BatchBuilder {
  const builder = new BatchBuilder(topic, partition)
  for (const { key, value, headers } of records) {
    builder.append(key, value, Object.keys(headers).length === 0 ? undefined : headers)
  }
  return builder
}

export function encode(records: readonly PlainRecord[], options: Partial<RecordBatchOptions> = {}): Buffer {
  const writer = new ByteWriter(16)
  encodeRecordBatch(builderOf(records), { ...OPTIONS, ...options }, writer)
  return Buffer.from(writer.buffer.subarray(0, writer.position))
}

/** What a broker may have done to a batch before it is fetched. */
export interface Stored {
  readonly baseOffset?: number
  readonly lastOffsetDelta?: number
  /** Attribute bits to set. */
  readonly attributes?: number
  readonly maxTimestampMs?: number
}

export const APPEND_TIME = 0x08
export const CONTROL = 0x20

/** The batch as the broker would hold it, its checksum made anew. */
export function stored(batch: Buffer, as: Stored): Buffer {
  const copy = Buffer.from(batch)
  if (as.baseOffset !== undefined) copy.writeBigInt64BE(BigInt(as.baseOffset), 0)
  if (as.lastOffsetDelta !== undefined) copy.writeInt32BE(as.lastOffsetDelta, 23)
  if (as.attributes !== undefined) copy.writeInt16BE(copy.readInt16BE(21) | as.attributes, 21)
  if (as.maxTimestampMs !== undefined) copy.writeBigInt64BE(BigInt(as.maxTimestampMs), 35)
  return sealed(copy)
}

/** With the checksum that fits its bytes. */
export function sealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch, 21), 17)
  return batch
}

/** A batch of one record, written byte by byte behind its length. */
export function handwritten(...record: number[]): Buffer {
  const batch = Buffer.concat([
    encode([textRecord('')]).subarray(0, 61),
    Buffer.from([record.length * 2, ...record]),
  ])
  batch.writeInt32BE(batch.length - 12, 8)
  return sealed(batch)
}

/** What compaction leaves of a batch: the record at each of the indices, the offsets unchanged. */
export function compacted(
  records: readonly PlainRecord[],
  kept: readonly number[],
  options: Partial<RecordBatchOptions> = {},
): Buffer {
  const decoder = kafkajs('protocol/encoder')
  const record = kafkajs('protocol/recordBatch/record/v0')
  const rows = kept.map((offsetDelta) => record({ offsetDelta, ...records[offsetDelta]! }))
  const body = new decoder().writeEncoderArray(rows).buffer
  const batch = Buffer.concat([encode(records, options).subarray(0, 61), body])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(kept.length, 57)
  return sealed(batch)
}

/** A commit or abort marker of a producer, one record at `offset`. */
export function marker(type: 'abort' | 'commit', producerId: number, offset: number): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  const record: PlainRecord = { key, value: Buffer.alloc(6), headers: {} }
  const batch = encode([record], { producerId, isTransactional: true, baseSequence: -1 })
  return stored(batch, { baseOffset: offset, attributes: CONTROL })
}

export function decode(
  records: Buffer,
  options: { fetchOffset?: number; aborted?: { producerId: number; firstOffset: number }[] } = {},
): DecodedRecords {
  return decodeRecords({
    topic: 't',
    partition: 0,
    records,
    fetchOffset: options.fetchOffset ?? 0,
    abortedTransactions: options.aborted ?? [],
  })
}

export interface ReadRecord {
  readonly offset: number
  readonly timestampMs: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: Record<string, string>
}

/** Everything of every record, as text that can be compared. */
export function recordsOf(
  batches: readonly RecordBatch[],
  headerNames: readonly string[] = [],
): ReadRecord[] {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => ({
      offset: batch.offsetAt(i),
      timestampMs: batch.timestampAt(i),
      key: batch.keyAt(i)?.toString('hex') ?? null,
      value: batch.valueAt(i)?.toString('hex') ?? null,
      headers: Object.fromEntries(
        headerNames.flatMap((header) => {
          const value = batch.headerAt(i, header)
          return value === undefined ? [] : [[header, value.toString('hex')]]
        }),
      ),
    })),
  )
}

/** The same of records that were not sent yet. */
export function expected(
  records: readonly PlainRecord[],
  at: { baseOffset?: number; timestampMs?: number } = {},
): ReadRecord[] {
  const { baseOffset = 0, timestampMs = OPTIONS.timestampMs } = at
  return records.map(({ key, value, headers }, i) => ({
    offset: baseOffset + i,
    timestampMs,
    key: key?.toString('hex') ?? null,
    value: value?.toString('hex') ?? null,
    headers: Object.fromEntries(
      Object.entries(headers).map(([header, bytes]) => [header, Buffer.from(bytes).toString('hex')]),
    ),
  }))
}

export function headerNamesOf(records: readonly PlainRecord[]): string[] {
  return [...new Set(records.flatMap(({ headers }) => Object.keys(headers)))]
}

export const valuesOf = ({ batches }: DecodedRecords): string[] =>
  batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => batch.valueAt(i)?.toString() ?? ''),
  )

/** The records field of a Fetch response through KafkaJS's decoder. */
export async function kafkaJsDecode(records: Buffer): Promise<KafkaJsMessage[]> {
  const Decoder = kafkajs('protocol/decoder')
  const length = Buffer.alloc(4)
  length.writeInt32BE(records.length)
  return kafkajs('protocol/requests/fetch/v4/decodeMessages')(new Decoder(Buffer.concat([length, records])))
}
