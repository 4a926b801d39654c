import assert from 'node:assert/strict'
import { PartitionSequences } from '../../../../log/kafkajs/hardening/sequence-after-timeout.ts'
import { batchOf, makeTopic, valuesIn } from '../../../contract/log/support.ts'
import { sharedKafka } from '../../../support/servers.ts'
import { throughProxy } from '../support.ts'

const PRODUCE = 0

describe('a send whose answer is lost, with another behind it', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('KafkaJS writes one of them twice and the other never, and says that all is well', async () => {
    const { proxy, kafkajs, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = kafkajs.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    proxy.once('lose', PRODUCE)
    await Promise.all(
      ['first', 'second'].map((value) => producer.send({ topic, messages: [{ value, partition: 0 }] })),
    )
    const written = await valuesIn(log, topic)
    await producer.disconnect()
    await close()
    assert.equal(written.length, 2)
    assert.equal(written[0], written[1])
  })

  it('here each is written once, in order', async () => {
    const { proxy, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = log.idempotentProducer()
    proxy.once('lose', PRODUCE)
    const offsets = await Promise.all(
      ['first', 'second'].map((value) => producer.send([batchOf(topic, 0, [value])])),
    )
    assert.deepEqual(offsets, [[0], [1]])
    assert.deepEqual(await valuesIn(log, topic), ['first', 'second'])
    await close()
  })

  it('in a transaction too, also where the connection breaks', async () => {
    const { proxy, log, close } = await throughProxy(brokers)
    const topic = await makeTopic(log)
    const producer = log.transactionalProducer({ transactionalId: `t-${topic}` })
    await producer.init()
    for (const fate of ['lose', 'cut'] as const) {
      producer.begin()
      proxy.once(fate, PRODUCE)
      await producer.send([batchOf(topic, 0, [`${fate} 1`])])
      await producer.send([batchOf(topic, 0, [`${fate} 2`])])
      await producer.commit()
    }
    assert.deepEqual(await valuesIn(log, topic), ['lose 1', 'lose 2', 'cut 1', 'cut 2'])
    await close()
  })

  it('no batch is given a sequence while an earlier one is undecided', () => {
    const sequences = new PartitionSequences()
    assert.equal(sequences.take('t-0'), 0)
    assert.throws(() => sequences.take('t-0'), /in flight/)
    assert.equal(sequences.take('t-1'), 0)
    sequences.settle('t-0', 0, 3)
    assert.equal(sequences.take('t-0'), 3)
    sequences.settle('t-0', 3, 0)
    assert.equal(sequences.take('t-0'), 3, 'what was refused counts for nothing')
  })
})
