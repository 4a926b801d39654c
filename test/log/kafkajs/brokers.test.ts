import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka, type KafkaServers } from '../../../deploy/stack/servers.ts'
import { LogError } from '../../../log/errors.ts'
import { partitionsOf } from '../../../log/partitions.ts'
import type { Log, TopicPartition, TransactionalProducer } from '../../../log/port.ts'
import {
  append,
  batchOf,
  fresh,
  makeTopic,
  nameOf,
  recordsOf,
  rejectsWith,
  TestMember,
  valuesIn,
} from '../../contract/log/support.ts'
import { ownServer } from '../../support/servers.ts'
import { openTestLog } from './support.ts'
import { until } from '../../support/until.ts'

const PARTITIONS = 6

describe('three brokers, of which one is killed', function () {
  this.timeout(300_000)
  let kafka: KafkaServers
  let log: Log
  const said: string[] = []

  before(async function () {
    this.timeout(300_000)
    kafka = await ownServer(this, () => startKafka({ brokers: 3, heapMb: 320 }))
  })
  after(() => kafka.stop())
  beforeEach(async () => {
    said.length = 0
    log = await openTestLog(kafka.env.KAFKA_BROKERS, {
      requestTimeoutMs: 3_000,
      connectionTimeoutMs: 3_000,
      retryTimeoutMs: 60_000,
      report: (message) => said.push(message),
    })
  })
  afterEach(() => log.close())

  let killed = 0

  /**
   * Kills a broker while the work goes on, and starts it again; another one each time.
   * @param done how much of the work is done
   */
  async function killOneDuring(
    work: (isOver: () => boolean) => Promise<void>,
    done: () => number,
  ): Promise<void> {
    let isOver = false
    const { server } = kafka.brokers[killed++ % 3]!
    const working = work(() => isOver)
    await until(() => done() > 10, 'the work to begin')
    await server.kill()
    await sleep(3_000)
    await server.start()
    const before = done()
    await until(() => done() > before + 10, 'the work to go on')
    isOver = true
    await working
  }

  it('idempotent sends go on: every record is there once, in order', async () => {
    const topic = await makeTopic(log, PARTITIONS)
    const producer = log.idempotentProducer()
    let sent = 0
    await killOneDuring(
      async (isOver) => {
        while (!isOver()) {
          const value = `${sent++}`
          await producer.send(
            partitionsOf(topic, PARTITIONS).map(({ partition }) => batchOf(topic, partition, [value])),
          )
        }
      },
      () => sent,
    )
    const expected = Array.from({ length: sent }, (_, i) => `${i}`)
    for (let p = 0; p < PARTITIONS; p++) assert.deepEqual(await valuesIn(log, topic, p), expected)
  })

  it('transactions are there on all partitions, once, or on none; what failed can be asked for', async () => {
    const topic = await makeTopic(log, PARTITIONS)
    const transactionalId = fresh('id')
    const newProducer = async (): Promise<TransactionalProducer> => {
      const made = log.transactionalProducer({ transactionalId, transactionTimeoutMs: 30_000 })
      await made.init()
      return made
    }
    const [known, unknown] = [[] as string[], [] as string[]]
    await killOneDuring(
      async (isOver) => {
        let producer = await newProducer()
        for (let i = 0; !isOver(); i++) {
          const value = `${i}`
          try {
            producer.begin()
            await producer.send(
              partitionsOf(topic, PARTITIONS).map(({ partition }) => batchOf(topic, partition, [value])),
            )
            await producer.commit()
            known.push(value)
          } catch (error) {
            assert(error instanceof LogError, String(error))
            if (error.code === 'OUTCOME_UNKNOWN') unknown.push(value)
            await producer.close()
            producer = await newProducer()
          }
        }
      },
      () => known.length,
    )
    const found = await valuesIn(log, topic, 0)
    for (let p = 1; p < PARTITIONS; p++) assert.deepEqual(await valuesIn(log, topic, p), found)
    assert.equal(new Set(found).size, found.length, 'nothing twice')
    assert.deepEqual(
      found.filter((value) => !unknown.includes(value!)),
      known,
    )
  })

  it('groups go on reading and committing, and it is said once', async () => {
    const topic = await makeTopic(log, PARTITIONS)
    const groupId = fresh('group')
    const members = [0, 1].map(() => new TestMember(log, groupId, [[topic]]).start())
    const seen = (): number => new Set(members.flatMap((member) => member.seen)).size
    const producer = log.idempotentProducer()
    let sent = 0
    await killOneDuring(async (isOver) => {
      while (!isOver()) {
        await producer.send([batchOf(topic, sent % PARTITIONS, [`${sent++}`])])
        await sleep(5)
      }
    }, seen)
    await until(() => seen() === sent, `all of ${sent} records to be seen`)
    const owner = members.find(({ assigned }) => assigned.length > 0)!
    await owner.commit(owner.assigned)
    const [first] = owner.assigned
    const [committed] = await owner.consumer.committed([first!])
    assert.equal(committed!.offset, owner.positions.get(nameOf(first!)))
    await Promise.all(members.map((member) => member.close()))
    const troubles = said.filter((message) => message.includes('Trying again'))
    const ends = said.filter((message) => message.includes('answers again'))
    assert(troubles.length <= 3 && Math.abs(troubles.length - ends.length) <= 1, said.join('\n'))
  })

  it('a member that dies without a word is replaced after its session, and refused when it comes back', async () => {
    const topic = await makeTopic(log, PARTITIONS)
    const groupId = fresh('group')
    const died = await openTestLog(kafka.env.KAFKA_BROKERS, { sessionTimeoutMs: 5_000 })
    const dead = new TestMember(died, groupId, [[topic]]).start()
    await until(() => dead.assigned.length === PARTITIONS, 'the assignment')
    const group = dead.group!
    const survivors = [0, 1].map(() => new TestMember(log, groupId, [[topic]]).start())
    const shares = (): TopicPartition[] => survivors.flatMap(({ assigned }) => [...assigned])
    await until(() => shares().length === 4 && dead.assigned.length === 2, 'thirds')
    const zombie = log.transactionalProducer({ transactionalId: fresh('zombie') })
    await zombie.init()
    zombie.begin()
    const late = dead.group!
    dead.consumer.wakeup()
    const stopped = dead.stop().catch(() => undefined)
    await died.close()
    await stopped
    await until(() => shares().length === PARTITIONS, 'halves')
    const offsets = [{ topic, partition: 0, offset: 7, metadata: '' }]
    await rejectsWith('STALE_GENERATION', () => zombie.sendOffsets(offsets, late))
    await rejectsWith('STALE_GENERATION', () => survivors[0]!.consumer.commitOffsets(offsets, group))
    await zombie.close()
    await Promise.all(survivors.map((member) => member.close()))
  })

  it('a topic deleted and made again is read from its new beginning only by who asks for it', async () => {
    const topic = await makeTopic(log)
    await append(log, topic, 0, ['a', 'b', 'c'])
    const member = new TestMember(log, fresh('group'), [[topic]])
    const values: (string | null)[] = []
    const poll = async (): Promise<void> => {
      for (const batch of await member.consumer.poll(1_000_000, 100)) {
        values.push(...recordsOf(batch).map(({ value }) => value))
      }
    }
    while (values.length < 3) await poll()
    await log.admin.deleteTopic(topic)
    await log.admin.createTopics([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    await append(log, topic, 0, ['new', 'as', 'many', 'again'])
    await rejectsWith(['OFFSET_OUT_OF_RANGE', 'UNKNOWN_TOPIC'], async () => {
      for (;;) await poll()
    })
    assert.deepEqual(values, ['a', 'b', 'c'])
    await member.consumer.close()
  })
})
