/**
 * What Kafka's bytes cost: CPU-seconds per million records to write and to read them, ours and KafkaJS's in
 * one run (figures of different hours do not compare). Records as the `orders` pipeline has them.
 * Usage: node bench/kafka-codec.ts [MILLIONS, default 1]
 */
import { BatchBuilder, ByteWriter } from '../log/batch.ts'
import { decodeRecords } from '../log/kafkajs/record-batch/decode.ts'
import { encodeRecordBatch, type RecordBatchOptions } from '../log/kafkajs/record-batch/encode.ts'
import { kafkajs } from '../test/log/kafkajs/record-batch/kafkajs.ts'

const KafkaJsBatch = kafkajs('consumer/batch')
const KafkaJsDecoder = kafkajs('protocol/decoder')
const decodeMessages = kafkajs('protocol/requests/fetch/v4/decodeMessages')
const kafkaJsProduce = kafkajs('protocol/requests/produce/v7/request')

const RECORDS = Number(process.argv[2] ?? 1) * 1e6
const BATCH_RECORDS = 1_000
const BATCHES_A_FETCH = 5
const VALUE_BYTES = 150
const OPTIONS: RecordBatchOptions = {
  producerId: 1,
  producerEpoch: 0,
  baseSequence: 0,
  isTransactional: true,
  compression: 'none',
  timestampMs: 1_767_225_600_000,
}

function fill(builder: BatchBuilder): BatchBuilder {
  const value = Buffer.alloc(VALUE_BYTES, 'order')
  builder.clear()
  for (let i = 0; i < BATCH_RECORDS; i++) builder.append(Buffer.from(`order-${i + 100_000}`), value)
  return builder
}

async function cpuSecondsPerMillion(
  name: string,
  rounds: number,
  recordsARound: number,
  run: () => unknown,
): Promise<void> {
  for (let i = 0; i < Math.max(20, rounds / 5); i++) await run()
  const before = process.cpuUsage()
  for (let i = 0; i < rounds; i++) await run()
  const { user, system } = process.cpuUsage(before)
  const perMillion = (user + system) / (rounds * recordsARound)
  console.log(`${name.padEnd(40)} ${perMillion.toFixed(3)} CPU-s per million records`)
}

const batch = fill(new BatchBuilder('orders', 0))
const writer = new ByteWriter(1 << 20)
const messages = Array.from({ length: BATCH_RECORDS }, (_, i) => ({
  key: batch.buffer.subarray(batch.positions[i * 7]!, batch.positions[i * 7 + 1]!),
  value: batch.buffer.subarray(batch.positions[i * 7 + 2]!, batch.positions[i * 7 + 3]!),
}))
const rounds = RECORDS / BATCH_RECORDS

for (const compression of ['none', 'lz4', 'snappy', 'zstd', 'gzip'] as const) {
  await cpuSecondsPerMillion(`write, ${compression}`, rounds, BATCH_RECORDS, () => {
    writer.position = 0
    encodeRecordBatch(batch, { ...OPTIONS, compression }, writer)
  })
}
await cpuSecondsPerMillion('write, none, KafkaJS', rounds / 4, BATCH_RECORDS, () =>
  kafkaJsProduce({
    acks: -1,
    timeout: 1_000,
    transactionalId: 'id',
    topicData: [{ topic: 'orders', partitions: [{ partition: 0, firstSequence: 0, messages }] }],
  }).encode(),
)

/** So many batches behind one another, as a fetch gives them. */
function fetched(compression: RecordBatchOptions['compression']): Buffer {
  writer.position = 0
  for (let i = 0; i < BATCHES_A_FETCH; i++) {
    const start = writer.position
    encodeRecordBatch(batch, { ...OPTIONS, compression }, writer)
    writer.buffer.writeInt32BE(i * BATCH_RECORDS, start + 4)
  }
  return Buffer.from(writer.buffer.subarray(0, writer.position))
}

const aFetch = BATCH_RECORDS * BATCHES_A_FETCH
for (const compression of ['none', 'lz4', 'snappy', 'zstd', 'gzip'] as const) {
  const records = fetched(compression)
  await cpuSecondsPerMillion(`read, ${compression}`, RECORDS / aFetch, aFetch, () =>
    decodeRecords({ topic: 'orders', partition: 0, records, fetchOffset: 0, abortedTransactions: [] }),
  )
}
const plain = fetched('none')
const length = Buffer.alloc(4)
length.writeInt32BE(plain.length)
const response = Buffer.concat([length, plain])
await cpuSecondsPerMillion('read, none, KafkaJS', RECORDS / aFetch / 4, aFetch, async () => {
  const decoded = await decodeMessages(new KafkaJsDecoder(response))
  return new KafkaJsBatch('orders', '0', {
    partition: 0,
    highWatermark: String(aFetch),
    abortedTransactions: [],
    messages: decoded,
  })
})
