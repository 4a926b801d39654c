import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { settleAll } from '../../../../log/kafkajs/hardening/partial-failure.ts'

/** What a broker of the test has appended, as it says itself. */
class Broker {
  readonly appended: string[] = []
  readonly nodeId: number
  readonly #produce: (broker: Broker, attempt: number) => Promise<void>
  #attempts = 0

  constructor(nodeId: number, produce: (broker: Broker, attempt: number) => Promise<void>) {
    this.nodeId = nodeId
    this.#produce = produce
  }

  async produce(): Promise<object> {
    const attempt = ++this.#attempts
    this.appended.push(`attempt ${attempt}`)
    await this.#produce(this, attempt)
    return { topics: [] }
  }
}

const retriable = (): Error => Object.assign(new Error('not yet'), { retriable: true })
const failing = (): Broker =>
  new Broker(0, async (broker, attempt) => {
    if (attempt > 1) return
    broker.appended.pop()
    throw retriable()
  })
const slow = (): Broker => new Broker(1, () => sleep(30))

describe('a send to two brokers, of which one fails at once and the other answers later', () => {
  it('KafkaJS sends to both again: what the slower had taken is there twice', async () => {
    const require = createRequire(import.meta.url)
    const createSend = require('kafkajs/src/producer/sendMessages.js') as (
      options: object,
    ) => (send: object) => Promise<unknown>
    const brokers = [failing(), slow()]
    const silent = { debug: (): void => {}, error: (): void => {} }
    const nothing = async (): Promise<void> => {}
    const send = createSend({
      logger: silent,
      partitioner: ({ message }: { message: { partition: number } }) => message.partition,
      cluster: {
        isConnected: () => true,
        addMultipleTargetTopics: nothing,
        refreshMetadata: nothing,
        refreshMetadataIfNecessary: nothing,
        findTopicPartitionMetadata: () => [{ partitionId: 0 }, { partitionId: 1 }],
        findLeaderForPartitions: () => ({ 0: [0], 1: [1] }),
        findBroker: async ({ nodeId }: { nodeId: string }) => brokers[Number(nodeId)],
      },
      eosManager: {
        isTransactional: () => false,
        acquireBrokerLock: nothing,
        releaseBrokerLock: nothing,
        getSequence: () => 0,
        updateSequence: (): void => {},
        getProducerId: () => 1,
        getProducerEpoch: () => 0,
      },
      retrier: async (attempt: (bail: () => void) => Promise<unknown>) =>
        attempt(() => undefined).catch(() => attempt(() => undefined)),
    })
    const messages = [0, 1].map((partition) => ({ value: 'v', partition }))
    await send({ acks: -1, topicMessages: [{ topic: 't', messages }] })
    await sleep(60)
    assert.deepEqual(brokers[1]!.appended, ['attempt 1', 'attempt 2'])
  })

  it('here the slower is waited for, and only the other is asked again', async () => {
    const brokers = [failing(), slow()]
    let open = brokers
    while (open.length > 0) {
      const asked = open
      const outcomes = await settleAll(asked.map((broker) => broker.produce()))
      open = asked.filter((_, i) => outcomes[i]!.error !== null)
    }
    assert.deepEqual(
      brokers.map(({ appended }) => appended.length),
      [1, 1],
    )
  })
})
