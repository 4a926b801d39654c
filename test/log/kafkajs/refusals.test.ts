import assert from 'node:assert/strict'
import { openKafkaLog } from '../../../log/kafkajs/kafka-log.ts'
import { assertSpeaks, type ApiVersions } from '../../../log/kafkajs/versions.ts'
import { batchOf, fresh, makeTopic, producerOf, rejectsWith, valuesIn } from '../../contract/log/support.ts'
import { sharedKafka } from '../../support/servers.ts'
import { openTestLog } from './support.ts'

describe('what Kafka refuses', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('a record larger than the topic takes is said, and the producer goes on with others', async () => {
    const log = await openKafkaLog({ brokers: brokers.split(','), maxRecordBytes: 2_000 })
    const topic = await makeTopic(log)
    const producer = log.idempotentProducer()
    await producer.send([batchOf(topic, 0, ['before'])])
    await assert.rejects(producer.send([batchOf(topic, 0, ['x'.repeat(5_000)])]), {
      code: 'RECORD_TOO_LARGE',
      message: new RegExp(`${topic}-0.*MESSAGE_TOO_LARGE.*max\\.message\\.bytes`),
    })
    await producer.send([batchOf(topic, 0, ['after'])])
    assert.deepEqual(await valuesIn(log, topic), ['before', 'after'])
    await log.close()
  })

  it('a record without a key in a compacted topic is refused in words', async () => {
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log, 1, { cleanup: 'compact' })
    await assert.rejects(log.idempotentProducer().send([batchOf(topic, 0, ['no key'])]), {
      code: 'INVALID_STATE',
      message: /INVALID_RECORD/,
    })
    await log.close()
  })

  it('a transaction time-out that the broker does not allow', async () => {
    const log = await openTestLog(brokers)
    const options = { transactionalId: fresh('id'), transactionTimeoutMs: 24 * 60 * 60 * 1000 }
    await rejectsWith('INVALID_STATE', () => log.transactionalProducer(options).init())
    await log.close()
  })

  it('a transaction that Kafka has timed out is told from one whose id somebody else took', async () => {
    const log = await openTestLog(brokers)
    const topic = await makeTopic(log)
    const slow = log.transactionalProducer({ transactionalId: fresh('slow'), transactionTimeoutMs: 5_000 })
    await slow.init()
    slow.begin()
    await slow.send([batchOf(topic, 0, ['slow'])])
    const committed = async (): Promise<number> =>
      (await log.admin.offsets([{ topic, partition: 0 }]))[0]!.stable
    while ((await committed()) === 0) await new Promise((resolve) => setTimeout(resolve, 100))
    await rejectsWith('TRANSACTION_TIMED_OUT', () => slow.commit())
    const id = fresh('id')
    const zombie = await producerOf(log, id)
    zombie.begin()
    await zombie.send([batchOf(topic, 0, ['zombie'])])
    await producerOf(log, id)
    await rejectsWith('FENCED', () => zombie.commit())
    await log.close()
  })
})

describe('a broker that is too old', () => {
  const all: ApiVersions = new Map(Array.from({ length: 80 }, (_, key) => [key, { min: 0, max: 20 }]))

  it('is told which version is needed at least', () => {
    assertSpeaks(all, 'kafka:9092')
    const old = new Map([...all, [28, { min: 0, max: 2 }]])
    assert.throws(() => assertSpeaks(old, 'kafka:9092'), {
      code: 'UNSUPPORTED_VERSION',
      message:
        /kafka:9092 is too old: TxnOffsetCommit is needed in version 3, and it has 0 to 2\. Upgrade it to 3\.0/,
    })
    const older = new Map([...all].filter(([key]) => key !== 65))
    assert.throws(() => assertSpeaks(older, 'kafka:9092'), /DescribeTransactions.*does not have it/)
  })

  it('and one that has dropped what is spoken here, as well', () => {
    const future = new Map([...all, [0, { min: 12, max: 20 }]])
    assert.throws(() => assertSpeaks(future, 'kafka:9092'), /too new.*newer Millrace/)
  })
})
