/**
 * What the client of Kafka costs by itself, without topology or state: CPU-seconds per million records produced in
 * transactions and consumed by a group, ours and KafkaJS's own in one run (figures of different hours do not
 * compare); then what one commit takes, by the number of partitions that it writes to.
 * Usage: node bench/kafka-client.ts [MILLIONS, default 1]; KAFKA_BROKERS names a broker, else one is started.
 */
import { Kafka, logLevel } from 'kafkajs'
import { startKafka } from '../deploy/stack/servers.ts'
import { BatchBuilder } from '../log/batch.ts'
import { openKafkaLog } from '../log/kafkajs/kafka-log.ts'
import type { GroupMetadata, Log } from '../log/port.ts'

const RECORDS = Number(process.argv[2] ?? 1) * 1e6
const PARTITIONS = 8
const SEND_RECORDS = 1_000
const SENDS_A_COMMIT = 10
const VALUE_BYTES = 148
/** KafkaJS is slow enough for a tenth of it to be measured as well. */
const KAFKAJS_SHARE = 0.1
const COMMITS = 100
const COMMIT_PARTITIONS = [8, 16, 64]

interface Cost {
  readonly cpuMs: number
  readonly wallMs: number
}

async function costOf(run: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage()
  const sinceMs = performance.now()
  await run()
  const { user, system } = process.cpuUsage(before)
  return { cpuMs: (user + system) / 1e3, wallMs: performance.now() - sinceMs }
}

function print(name: string, records: number, { cpuMs, wallMs }: Cost): void {
  const cpu = (cpuMs / 1e3 / (records / 1e6)).toFixed(3)
  const rate = Math.round(records / wallMs)
  console.log(`${name.padEnd(32)} ${cpu} CPU-s per million records  ${String(rate).padStart(6)}k records/s`)
}

function filled(topic: string, partition: number): BatchBuilder {
  const builder = new BatchBuilder(topic, partition)
  const value = Buffer.alloc(VALUE_BYTES, 'order')
  for (let i = 0; i < SEND_RECORDS; i++) builder.append(Buffer.from(`order-${100_000 + i}`), value)
  return builder
}

/** @returns how many it were: whole batches */
async function produce(log: Log, topic: string, records: number): Promise<number> {
  const producer = log.transactionalProducer({ transactionalId: `bench-${process.pid}` })
  await producer.init()
  const batches = Array.from({ length: PARTITIONS }, (_, partition) => filled(topic, partition))
  let sent = 0
  while (sent < records) {
    producer.begin()
    for (let i = 0; i < SENDS_A_COMMIT && sent < records; i++, sent += PARTITIONS * SEND_RECORDS) {
      await producer.send(batches)
    }
    await producer.commit()
  }
  await producer.close()
  return sent
}

/** All there are: what is read ahead is counted too. */
async function consume(log: Log, topic: string, records: number): Promise<void> {
  const consumer = log.groupConsumer({
    groupId: `bench-${process.pid}-${Math.random()}`,
    topics: [[topic]],
    onRevoke: () => Promise.resolve(),
    onAssign: async (partitions) => {
      for (const partition of partitions) consumer.seek(partition, 0)
    },
  })
  for (let read = 0; read < records;) {
    for (const { count } of await consumer.poll(4 * 2 ** 20, 1_000)) read += count
  }
  await consumer.close()
}

async function produceByKafkajs(kafka: Kafka, topic: string, records: number): Promise<void> {
  const transactionalId = `bench-kafkajs-${process.pid}-${records}`
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const value = Buffer.alloc(VALUE_BYTES, 'order')
  const messages = Array.from({ length: PARTITIONS * SEND_RECORDS }, (_, i) => ({
    key: Buffer.from(`order-${100_000 + i}`),
    value,
    partition: i % PARTITIONS,
  }))
  for (let sent = 0; sent < records;) {
    const transaction = await producer.transaction()
    for (let i = 0; i < SENDS_A_COMMIT && sent < records; i++, sent += messages.length) {
      await transaction.send({ topic, messages })
    }
    await transaction.commit()
  }
  await producer.disconnect()
}

async function consumeByKafkajs(kafka: Kafka, topic: string, records: number): Promise<void> {
  const consumer = kafka.consumer({ groupId: `bench-kafkajs-${process.pid}-${Math.random()}` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const done = Promise.withResolvers<undefined>()
  let read = 0
  await consumer.run({
    partitionsConsumedConcurrently: PARTITIONS,
    eachBatch: async ({ batch }) => {
      read += batch.messages.length
      if (read >= records) done.resolve(undefined)
    },
  })
  await done.promise
  await consumer.disconnect()
}

/** As a worker commits: a few records to every partition, and its offsets, in one transaction. */
async function commits(log: Log, topic: string, partitions: number, group: GroupMetadata): Promise<void> {
  const producer = log.transactionalProducer({ transactionalId: `bench-commits-${process.pid}` })
  await producer.init()
  const batches = Array.from({ length: partitions }, (_, partition) => {
    const builder = new BatchBuilder(topic, partition)
    for (let i = 0; i < 10; i++) builder.append(Buffer.from(`key-${i}`), Buffer.alloc(VALUE_BYTES))
    return builder
  })
  const commit = async (offset: number): Promise<void> => {
    producer.begin()
    await producer.send(batches)
    const offsets = batches.map(({ partition }) => ({ topic, partition, offset, metadata: '' }))
    await producer.sendOffsets(offsets, group)
    await producer.commit()
  }
  for (let i = 0; i < COMMITS / 4; i++) await commit(i)
  const { cpuMs, wallMs } = await costOf(async () => {
    for (let i = 0; i < COMMITS; i++) await commit(i)
  })
  const [wall, cpu] = [wallMs, cpuMs].map((ms) => (ms / COMMITS).toFixed(1))
  console.log(
    `a commit of ${String(partitions).padStart(2)} partitions         ${wall!} ms, ${cpu!} ms of CPU`,
  )
  await producer.close()
}

const given = process.env['KAFKA_BROKERS']
const server = given === undefined ? await startKafka() : null
const brokers = (given ?? server!.env.KAFKA_BROKERS).split(',')
const log = await openKafkaLog({ brokers })
const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING })
const names = ['ours', 'kafkajs', ...COMMIT_PARTITIONS].map((name) => `bench-${process.pid}-${name}`)
const [ours, theirs, ...forCommits] = names as [string, string, ...string[]]
try {
  const config = { cleanup: 'delete', retentionMs: -1 } as const
  const counts = [PARTITIONS, PARTITIONS, ...COMMIT_PARTITIONS]
  await log.admin.createTopics(names.map((name, i) => ({ name, partitions: counts[i]!, ...config })))
  const few = RECORDS * KAFKAJS_SHARE
  // Each beforehand as well, so that nobody's compilation is counted.
  let written = await produce(log, ours, RECORDS / 2)
  print('produce', RECORDS, await costOf(async () => (written += await produce(log, ours, RECORDS))))
  await consume(log, ours, written)
  print('consume', written, await costOf(() => consume(log, ours, written)))
  await produceByKafkajs(kafka, theirs, few / 2)
  print('produce, KafkaJS', few, await costOf(() => produceByKafkajs(kafka, theirs, few)))
  await consumeByKafkajs(kafka, theirs, few)
  print('consume, KafkaJS', few, await costOf(() => consumeByKafkajs(kafka, theirs, few)))
  const group = { groupId: `bench-offsets-${process.pid}`, memberId: '', generation: -1 }
  for (const [i, topic] of forCommits.entries()) await commits(log, topic, COMMIT_PARTITIONS[i]!, group)
} finally {
  for (const name of names) await log.admin.deleteTopic(name).catch(() => undefined)
  await log.close()
  await server?.stop()
}
