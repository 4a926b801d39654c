import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka, type KafkaServers } from '../../../deploy/stack/servers.ts'
import { LogError } from '../../../log/errors.ts'
import { partitionsOf } from '../../../log/partitions.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  TopicPartition,
  TransactionalProducer,
} from '../../../log/port.ts'
import { batchOf, fresh, makeTopic, PLENTY, recordsOf, valuesIn } from '../../contract/log/support.ts'
import { ownServer } from '../../support/servers.ts'
import { openTestLog } from './support.ts'
import { until } from '../../support/until.ts'

const PARTITIONS = 3
const RESTARTS = 2

/** Copies records from one topic to the other, exactly once: positions and copies in one transaction. */
class Copier {
  copied = 0
  failures: string[] = []
  readonly #log: Log
  readonly #target: string
  readonly #consumer: GroupConsumer
  readonly #transactionalId = fresh('copier')
  #producer: TransactionalProducer | null = null
  #group: GroupMetadata | null = null
  #partitions: readonly TopicPartition[] = []
  #isStopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(log: Log, source: string, target: string) {
    this.#log = log
    this.#target = target
    this.#consumer = log.groupConsumer({
      groupId: fresh('group'),
      topics: [[source]],
      onRevoke: () => Promise.resolve(),
      onAssign: async (partitions, group) => {
        this.#group = group
        this.#partitions = partitions
        await this.#seekCommitted()
      },
    })
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#consumer.wakeup()
    await this.#running
    await this.#consumer.close()
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        const batches = await this.#consumer.poll(PLENTY, 100)
        if (batches.length === 0) continue
        this.#producer ??= await this.#newProducer()
        this.#producer.begin()
        const values = batches.flatMap((batch) => recordsOf(batch).map(({ value }) => value))
        await this.#producer.send([batchOf(this.#target, 0, values)])
        const offsets = batches.map((batch) => ({
          topic: batch.topic,
          partition: batch.partition,
          offset: batch.nextOffset,
          metadata: '',
        }))
        await this.#producer.sendOffsets(offsets, this.#group!)
        await this.#producer.commit()
        this.copied += values.length
      } catch (error) {
        assert(error instanceof LogError, String(error))
        this.failures.push(error.code)
        await this.#recover()
      }
    }
    await this.#producer?.close()
  }

  async #recover(): Promise<void> {
    await this.#producer?.close()
    // Ends what was left open, so that the positions can be read.
    this.#producer = await this.#newProducer()
    await this.#seekCommitted()
  }

  async #seekCommitted(): Promise<void> {
    const committed = await this.#consumer.committed(this.#partitions)
    this.copied = 0
    this.#partitions.forEach((partition, i) => {
      const offset = committed[i]?.offset ?? 0
      this.copied += offset
      this.#consumer.seek(partition, offset)
    })
  }

  async #newProducer(): Promise<TransactionalProducer> {
    const producer = this.#log.transactionalProducer({ transactionalId: this.#transactionalId })
    await producer.init()
    return producer
  }
}

describe('one broker, killed and started again under load', function () {
  this.timeout(300_000)
  let kafka: KafkaServers
  before(async function () {
    this.timeout(300_000)
    kafka = await ownServer(this, () => startKafka())
  })
  after(() => kafka.stop())

  it('what was sent and copied in transactions is there once, and everybody goes on by himself', async () => {
    const said: string[] = []
    const log = await openTestLog(kafka.env.KAFKA_BROKERS, {
      requestTimeoutMs: 3_000,
      retryTimeoutMs: 60_000,
      report: (message) => said.push(message),
    })
    const source = await makeTopic(log, PARTITIONS)
    const target = await makeTopic(log)
    const copier = new Copier(log, source, target)
    copier.start()
    const producer = log.idempotentProducer()
    let sent = 0
    const work = { isOver: false }
    const sending = (async (): Promise<void> => {
      while (!work.isOver) {
        const batches = partitionsOf(source, PARTITIONS).map(({ partition }) =>
          batchOf(source, partition, [`${sent++}`, `${sent++}`]),
        )
        await producer.send(batches)
        await sleep(2)
      }
    })()
    const { server } = kafka.brokers[0]!
    for (let i = 0; i < RESTARTS; i++) {
      const before = copier.copied
      await until(() => copier.copied > before + 100, 'the copier to be at work')
      await server.kill()
      await sleep(1_000)
      await server.start()
    }
    const before = copier.copied
    await until(() => copier.copied > before + 100, 'the copier to go on')
    work.isOver = true
    await sending
    await until(() => copier.copied >= sent, `all of ${sent} to be copied`)
    await copier.stop()
    const everything = Array.from({ length: sent }, (_, i) => i)
    const copies = (await valuesIn(log, target)).map(Number)
    assert.deepEqual(
      copies.sort((a, b) => a - b),
      everything,
    )
    // However many calls are held up, it is said once, and not again before it was said that Kafka answers.
    const told = said.filter((message) => /Trying again|answers again/.test(message))
    for (const [i, message] of told.entries())
      assert.match(message, i % 2 === 0 ? /Trying again/ : /answers again/, said.join('\n'))
    assert(told.length <= 2 * 3 * RESTARTS, said.join('\n'))
    await log.close()
  })
})
