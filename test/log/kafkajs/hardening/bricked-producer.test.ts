import assert from 'node:assert/strict'
import { batchOf, fresh, makeTopic, rejectsWith, valuesIn } from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { kafkajsTransactions, openTestLog, settledValuesIn, throughProxy } from '../support.ts'

const END_TXN = 26

describe('a commit whose answer is lost', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('KafkaJS says that it failed, though it stands, and can neither abort nor begin ever after', async () => {
    const { proxy, kafkajs, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = await kafkajsTransactions(kafkajs)
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value: 'committed', partition: 0 }] })
    proxy.once('cut', END_TXN)
    await assert.rejects(transaction.commit())
    await assert.rejects(transaction.abort())
    await assert.rejects(producer.transaction(), /in state "COMMITTING"/)
    assert.deepEqual(await settledValuesIn(log, topic), ['committed'])
    await close()
  })

  for (const fate of ['lose', 'cut'] as const) {
    it(`here it is asked for again, and the next transaction begins (the answer: ${fate})`, async () => {
      const { proxy, log, close } = await throughProxy(brokers)
      const topic = await makeTopic(log)
      const producer = log.transactionalProducer({ transactionalId: fresh('id') })
      await producer.init()
      producer.begin()
      await producer.send([batchOf(topic, 0, ['committed'])])
      proxy.once(fate, END_TXN)
      await producer.commit()
      producer.begin()
      await producer.send([batchOf(topic, 0, ['aborted'])])
      proxy.once(fate, END_TXN)
      await producer.abort()
      producer.begin()
      await producer.send([batchOf(topic, 0, ['next'])])
      await producer.commit()
      assert.deepEqual(await valuesIn(log, topic), ['committed', 'next'])
      await close()
    })
  }

  it('and never comes, then nobody guesses: the outcome is unknown', async () => {
    const direct = await openTestLog(brokers)
    const { proxy, log, close } = await throughProxy(brokers, {
      requestTimeoutMs: 2_000,
      retryTimeoutMs: 8_000,
    })
    const topic = await makeTopic(direct)
    const id = fresh('id')
    const producer = log.transactionalProducer({ transactionalId: id })
    await producer.init()
    producer.begin()
    await producer.send([batchOf(topic, 0, ['perhaps'])])
    proxy.fateOf = () => 'lose'
    await rejectsWith('OUTCOME_UNKNOWN', () => producer.commit())
    await rejectsWith('OUTCOME_UNKNOWN', () => producer.send([batchOf(topic, 0, ['more'])]))
    const next = direct.transactionalProducer({ transactionalId: id })
    await next.init()
    assert.deepEqual(await valuesIn(direct, topic), ['perhaps'], 'it was carried out')
    await close()
    await direct.close()
  })

  it('or was refused because another has the id: then it was not carried out', async () => {
    const { log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const id = fresh('id')
    const [zombie, owner] = [0, 1].map(() => log.transactionalProducer({ transactionalId: id }))
    await zombie!.init()
    zombie!.begin()
    await zombie!.send([batchOf(topic, 0, ['zombie'])])
    await owner!.init()
    await rejectsWith('FENCED', () => zombie!.commit())
    assert.deepEqual(await valuesIn(log, topic), [])
    await close()
  })
})
