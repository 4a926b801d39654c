import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import kafkajs from 'kafkajs'
import { BatchBuilder } from '../../../log/batch.ts'
import { openKafkaLog, type KafkaLogOptions } from '../../../log/kafkajs/kafka-log.ts'
import type { Log, LogAdmin, TopicPartition } from '../../../log/port.ts'
import { FrameProxy } from './frame-proxy.ts'
import { readAll, valuesIn } from '../../contract/log/support.ts'
import { over } from '../../support/altered-log.ts'

/** Short, so that a test that fails does so within its time. */
export function openTestLog(brokers: string, options: Partial<KafkaLogOptions> = {}): Promise<Log> {
  return openKafkaLog({ brokers: brokers.split(','), retryTimeoutMs: 20_000, ...options })
}

/** KafkaJS as its users have it. */
export function plainKafkajs(brokers: string): kafkajs.Kafka {
  const { NOTHING } = kafkajs.logLevel
  return new kafkajs.Kafka({ brokers: brokers.split(','), logLevel: NOTHING, connectionTimeout: PATIENCE_MS })
}

const PATIENCE_MS = 20_000
const CLEANER_MS = 60_000
const MARKERS_MS = 60_000

/**
 * The same log, whose compacted topics close a segment with nearly every send and have it compacted as soon as
 * the cleaner comes by: it leaves the open segment alone, and any that holds an open transaction.
 */
export function compactingSoon(brokers: string, log: Log): Log {
  const createTopics: LogAdmin['createTopics'] = async (topics) => {
    const existing = await log.admin.describeTopics(topics.map(({ name }) => name))
    await log.admin.createTopics(topics)
    const compacted = topics.filter(({ cleanup }, i) => existing[i] === null && cleanup === 'compact')
    if (compacted.length === 0) return
    const configs = {
      'cleanup.policy': 'compact',
      'message.timestamp.type': 'LogAppendTime',
      'segment.ms': '1',
      'min.cleanable.dirty.ratio': '0.0',
    }
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const admin = plainKafkajs(brokers).admin()
    await admin.connect()
    await admin.alterConfigs({
      validateOnly: false,
      resources: compacted.map(({ name }) => ({
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name,
        configEntries,
      })),
    })
    await admin.disconnect()
  }
  return over(log, 'admin', over(log.admin, 'createTopics', createTopics))
}

/**
 * Waits until a topic of {@link compactingSoon} has one record a key. The last segment is
 * closed by a record of an aborted transaction, which nobody sees.
 */
export async function compacted(log: Log, { topic, partition }: TopicPartition): Promise<void> {
  const closer = log.transactionalProducer({ transactionalId: `closer-${randomBytes(6).toString('hex')}` })
  await closer.init()
  closer.begin()
  const builder = new BatchBuilder(topic, partition)
  builder.append(Buffer.from('closer'), Buffer.from('never seen'))
  await closer.send([builder])
  await closer.close()
  const deadlineMs = Date.now() + CLEANER_MS
  for (;;) {
    const keys = (await readAll(log, topic, partition)).map(({ key }) => key)
    // It may have come by before this was called.
    if (new Set(keys).size === keys.length) return
    if (Date.now() > deadlineMs)
      throw new Error(`${topic}-${partition} was not compacted in ${CLEANER_MS} ms`)
    await sleep(200)
  }
}

/** KafkaJS' own, ready for its first transaction. */
export async function kafkajsTransactions(client: kafkajs.Kafka): Promise<kafkajs.Producer> {
  const transactionalId = `kafkajs-${randomBytes(6).toString('hex')}`
  const producer = client.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

/**
 * What a topic holds when nothing is open in it any more: a broker answers a commit before its markers stand, and
 * KafkaJS does not wait for them as ours does.
 */
export async function settledValuesIn(log: Log, topic: string): Promise<(string | null)[]> {
  const deadlineMs = Date.now() + MARKERS_MS
  for (;;) {
    const [offsets] = await log.admin.offsets([{ topic, partition: 0 }])
    if (offsets!.stable === offsets!.end) return valuesIn(log, topic)
    if (Date.now() > deadlineMs) throw new Error(`a transaction is open in ${topic} after ${MARKERS_MS} ms`)
    await sleep(10)
  }
}

/** KafkaJS and ours, both through a proxy that loses answers. */
export async function throughProxy(
  brokers: string,
  { requestTimeoutMs = 1_000, retryTimeoutMs = 20_000 } = {},
): Promise<{ proxy: FrameProxy; kafkajs: kafkajs.Kafka; log: Log; close: () => Promise<void> }> {
  const proxy = await FrameProxy.start(brokers)
  const host = '127.0.0.1'
  const plain = new kafkajs.Kafka({
    brokers: brokers.split(','),
    logLevel: kafkajs.logLevel.NOTHING,
    connectionTimeout: PATIENCE_MS,
    requestTimeout: requestTimeoutMs,
    retry: { initialRetryTime: 50, retries: 5 },
    socketFactory: ({ onConnect }) => connect({ host, port: proxy.port }, onConnect),
  })
  const log = await openTestLog(brokers, {
    requestTimeoutMs,
    retryTimeoutMs,
    route: () => ({ host, port: proxy.port }),
  })
  const close = async (): Promise<void> => {
    await log.close()
    await proxy.stop()
  }
  return { proxy, kafkajs: plain, log, close }
}
