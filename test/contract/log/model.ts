import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import type { TransactionalProducer } from '../../../log/port.ts'
import { batchOf, fresh, type LogUnderTest, makeTopic, producerOf, valuesIn } from './support.ts'

const PARTITIONS = 2
const PRODUCERS = 3

type Step = { readonly producer: number } & (
  | { readonly does: 'send'; readonly partition: number; readonly count: number }
  | { readonly does: 'commit' | 'abort' | 'replace' }
)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('send' as const),
      producer: fc.nat(PRODUCERS - 1),
      partition: fc.nat(PARTITIONS - 1),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constantFrom('commit' as const, 'abort' as const, 'replace' as const),
      producer: fc.nat(PRODUCERS - 1),
    }),
  },
)

/** The log in ten lines: records in order of sending, each decided with its transaction. */
class Model {
  readonly sent = Array.from({ length: PARTITIONS }, (): { value: string; by: number; fate: string }[] => [])

  decide(by: number, fate: 'committed' | 'aborted'): void {
    for (const record of this.sent.flat()) if (record.by === by && record.fate === 'open') record.fate = fate
  }

  visible(partition: number): string[] {
    const records = this.sent[partition]!
    const firstOpen = records.findIndex(({ fate }) => fate === 'open')
    const decided = firstOpen < 0 ? records : records.slice(0, firstOpen)
    return decided.filter(({ fate }) => fate === 'committed').map(({ value }) => value)
  }
}

export function modelTests(use: () => LogUnderTest): void {
  it('shows exactly what is committed below the first undecided record, in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
        const { log } = use()
        const topic = await makeTopic(log, PARTITIONS)
        const ids = Array.from({ length: PRODUCERS }, () => fresh('id'))
        const producers = await Promise.all(ids.map((id) => producerOf(log, id)))
        const open = new Set<TransactionalProducer>()
        const model = new Model()
        let sent = 0
        for (const s of steps) {
          const producer = producers[s.producer]!
          if (s.does === 'replace') {
            model.decide(s.producer, 'aborted')
            producers[s.producer] = await producerOf(log, ids[s.producer])
          } else if (s.does === 'send') {
            if (!open.has(producer)) producer.begin()
            open.add(producer)
            const values = Array.from({ length: s.count }, () => `value ${sent++}`)
            await producer.send([batchOf(topic, s.partition, values)])
            for (const value of values) model.sent[s.partition]!.push({ value, by: s.producer, fate: 'open' })
          } else if (open.delete(producer)) {
            await producer[s.does]()
            model.decide(s.producer, s.does === 'commit' ? 'committed' : 'aborted')
          }
          for (let p = 0; p < PARTITIONS; p++)
            assert.deepEqual(await valuesIn(log, topic, p), model.visible(p))
        }
        await Promise.all(producers.map((producer) => producer.close()))
      }),
      { numRuns: testScale.slowPropertyRuns },
    )
  })
}
