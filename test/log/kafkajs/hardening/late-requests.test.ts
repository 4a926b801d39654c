import assert from 'node:assert/strict'
import type { GroupMetadata, OffsetAndMetadata, TransactionalProducer } from '../../../../log/port.ts'
import {
  batchOf,
  fresh,
  makeTopic,
  rejectsWith,
  TestMember,
  valuesIn,
} from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import type { HeldRequest } from '../frame-proxy.ts'
import { kafkajsTransactions, settledValuesIn, throughProxy } from '../support.ts'
import { until } from '../../../support/until.ts'

const INIT_PRODUCER_ID = 22
const ADD_PARTITIONS = 24
const ADD_OFFSETS = 25
const END_TXN = 26
const TXN_OFFSET_COMMIT = 28
/** INVALID_PRODUCER_EPOCH, PRODUCER_FENCED. */
const REFUSED = [47, 90]

/** Where the error of the first partition, or of the whole, stands in the answer's frame. */
function errorIn(answer: Buffer, apiKey: number, topic: string): number {
  const behindThrottle = { [END_TXN]: 12, [ADD_OFFSETS]: 12 }[apiKey]
  if (behindThrottle !== undefined) return answer.readInt16BE(behindThrottle)
  const behindName = answer.indexOf(topic) + topic.length
  // A count (int32 or compact), and the partition's number.
  return answer.readInt16BE(behindName + (apiKey === ADD_PARTITIONS ? 8 : 5))
}

describe('a request of a transaction that arrives during the next one', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('is obeyed where a producer keeps its epoch, as in KafkaJS: half a transaction is committed', async () => {
    const { proxy, kafkajs, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = await kafkajsTransactions(kafkajs)
    const first = await producer.transaction()
    await first.send({ topic, messages: [{ value: 'first', partition: 0 }] })
    const late = proxy.hold(END_TXN, { passes: true })
    await first.commit()
    const second = await producer.transaction()
    await second.send({ topic, messages: [{ value: 'half', partition: 0 }] })
    assert.equal(errorIn(await late.deliver(), END_TXN, topic), 0)
    await second.abort().catch(() => undefined)
    assert.deepEqual(await settledValuesIn(log, topic), ['first', 'half'], 'it was never committed')
    await close()
  })

  describe('is refused here', () => {
    let through: Awaited<ReturnType<typeof throughProxy>>
    let topic: string
    let source: string
    let member: TestMember
    let producer: TransactionalProducer
    let transactionalId: string
    let group: GroupMetadata

    beforeEach(async () => {
      through = await throughProxy(brokers)
      topic = await makeTopic(through.log)
      source = await makeTopic(through.log)
      member = new TestMember(through.log, fresh('group'), [[source]]).start()
      await until(() => member.assigned.length === 1, 'an assignment')
      group = member.group!
      transactionalId = fresh('id')
      producer = through.log.transactionalProducer({ transactionalId })
      await producer.init()
    })
    afterEach(async () => {
      await member.close()
      await through.close()
    })

    const offsets = (offset: number): OffsetAndMetadata[] => [
      { topic: source, partition: 0, offset, metadata: '' },
    ]
    const committed = async (): Promise<number | undefined> =>
      (await member.consumer.committed([{ topic: source, partition: 0 }]))[0]?.offset

    async function firstTransaction(apiKey: number): Promise<HeldRequest> {
      const held = through.proxy.hold(apiKey)
      producer.begin()
      await producer.send([batchOf(topic, 0, ['first'])])
      await producer.sendOffsets(offsets(1), group)
      await producer.commit()
      await held.isHeld
      return held
    }

    for (const [name, apiKey] of Object.entries({
      ADD_PARTITIONS,
      ADD_OFFSETS,
      TXN_OFFSET_COMMIT,
      END_TXN,
    })) {
      for (const decision of ['commit', 'abort'] as const) {
        it(`${name}, and the next transaction is whole (${decision})`, async () => {
          const late = await firstTransaction(apiKey)
          producer.begin()
          await producer.send([batchOf(topic, 0, ['second'])])
          const answer = await late.deliver()
          const error = errorIn(answer, apiKey, apiKey === TXN_OFFSET_COMMIT ? source : topic)
          assert(REFUSED.includes(error), `the late one was answered with ${error}`)
          await producer.sendOffsets(offsets(2), group)
          await producer[decision]()
          const isCommitted = decision === 'commit'
          assert.deepEqual(await valuesIn(through.log, topic), isCommitted ? ['first', 'second'] : ['first'])
          assert.equal(await committed(), isCommitted ? 2 : 1)
          // The same producer goes on, under its new epoch.
          producer.begin()
          await producer.send([batchOf(topic, 0, ['third'])])
          await producer.commit()
          assert.equal((await valuesIn(through.log, topic)).at(-1), 'third')
        })
      }
    }

    it('and a new epoch is not taken from whoever has the id by then', async () => {
      const held = through.proxy.hold(END_TXN)
      producer.begin()
      await producer.send([batchOf(topic, 0, ['first'])])
      const answers = through.proxy.hold(INIT_PRODUCER_ID)
      await producer.commit()
      await answers.isHeld
      const successor = through.log.transactionalProducer({ transactionalId })
      await successor.init()
      producer.begin()
      await rejectsWith('FENCED', () => producer.send([batchOf(topic, 0, ['zombie'])]))
      await held.deliver()
      successor.begin()
      await successor.send([batchOf(topic, 0, ['successor'])])
      await successor.commit()
      assert.deepEqual(await valuesIn(through.log, topic), ['first', 'successor'])
    })
  })
})
