import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { sequenceAfter } from '../../../../log/kafkajs/hardening/sequence-wrap.ts'

const LARGEST = 2 ** 31 - 1

describe('sequence numbers beyond 2^31 − 1', () => {
  it('begin anew at 0 in KafkaJS, wherever the batch ended; here they go on behind it', async () => {
    const require = createRequire(import.meta.url)
    const createEosManager = require('kafkajs/src/producer/eosManager/index.js') as (options: object) => {
      initProducerId(): Promise<void>
      getSequence(topic: string, partition: number): number
      updateSequence(topic: string, partition: number, count: number): void
    }
    const silent = { debug: (): void => {}, namespace: () => silent }
    const broker = { initProducerId: async () => ({ producerId: 7, producerEpoch: 0 }) }
    const cluster = {
      retry: {},
      refreshMetadataIfNecessary: async (): Promise<void> => {},
      findControllerBroker: async () => broker,
    }
    const manager = createEosManager({ logger: silent, cluster, transactional: false })
    await manager.initProducerId()
    manager.updateSequence('t', 0, LARGEST - 2)
    manager.updateSequence('t', 0, 10)
    assert.equal(manager.getSequence('t', 0), 0, 'the broker wants 7: it takes this for lost records')
    assert.equal(sequenceAfter(LARGEST - 2, 10), 7)
  })

  it('follow each other as if counted one by one', () => {
    const one = (sequence: number): number => (sequence === LARGEST ? 0 : sequence + 1)
    fc.assert(
      fc.property(fc.integer({ min: LARGEST - 50, max: LARGEST }), fc.nat(100), (sequence, count) => {
        let expected = sequence
        for (let i = 0; i < count; i++) expected = one(expected)
        assert.equal(sequenceAfter(sequence, count), expected)
      }),
    )
  })
})
