import assert from 'node:assert/strict'
import { contract } from '../../../schemas/contract.ts'
import { table, topic } from '../../../schemas/destinations.ts'
import { string, timestamp } from '../../../schemas/schema.ts'
import { describeText } from '../../../processor/topology/describe.ts'
import { checkCompatible } from '../../../processor/topology/compatible.ts'
import { describeTopology, topologyHash } from '../../../processor/topology/diff.ts'
import { definePipeline, source } from '../../../processor/topology/pipeline.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'
import { count } from '../../../processor/windows/aggregates.ts'
import { tumbling } from '../../../processor/windows/tumbling.ts'
import type { Stream } from '../../../processor/topology/stream.ts'
import { pipelineOf, type Sale } from './support.ts'

describe('an edited topology', () => {
  const windowed = (size: string, extra?: (sales: Stream<Sale>) => void): ReturnType<typeof definePipeline> =>
    pipelineOf((sales) => {
      sales
        .window(tumbling(size as '1h'))
        .aggregate('hours', { sales: count() })
        .to(table('shop.hours'))
      extra?.(sales)
    })
  const descriptionOf = (pipeline: ReturnType<typeof definePipeline>, partitions = 2) =>
    describeTopology(planPipeline(pipeline, { partitions }))

  it('may gain nodes', () => {
    checkCompatible(
      descriptionOf(windowed('1h')),
      descriptionOf(
        windowed('1h', (sales) => {
          sales.filter((s) => s.amount > 0).to(topic('large'))
        }),
      ),
    )
  })

  it('is refused with the difference and the way out where the state would not fit', () => {
    assert.throws(
      () => checkCompatible(descriptionOf(windowed('1h')), descriptionOf(windowed('5m'))),
      /'hours' windows: tumbling 3600000 ms when it was written, tumbling 300000 ms now[\s\S]*another directory/,
    )
  })

  it('is refused with another number of partitions', () => {
    assert.throws(
      () => checkCompatible(descriptionOf(windowed('1h')), descriptionOf(windowed('1h'), 4)),
      /partitions: 2 when it was written, 4 now/,
    )
  })

  it('is refused where an aggregate emits at other times: what was open would be emitted wrong', () => {
    const emitting = (emit: 'final' | 'updates'): ReturnType<typeof definePipeline> =>
      pipelineOf((sales) => {
        sales.window(tumbling('1h')).aggregate('hours', { sales: count() }, { emit }).to(table('shop.hours'))
      })
    assert.throws(
      () => checkCompatible(descriptionOf(emitting('final')), descriptionOf(emitting('updates'))),
      /'hours' emit: final when it was written, updates now/,
    )
    checkCompatible(descriptionOf(windowed('1h')), descriptionOf(emitting('final')))
    assert.match(describeText(planPipeline(emitting('updates'), { partitions: 2 })), /hours \(updates\)/)
  })

  it('is refused where a topic that others write has another number of partitions, or lost its disorder', () => {
    const reading = (disorder: '1m' | '2m'): ReturnType<typeof definePipeline> =>
      definePipeline({
        name: 'shop',
        sources: {
          sales: source(
            'sale-events',
            contract(
              'Sale',
              { sale_id: string(), at_time: timestamp() },
              { id: ['sale_id'], key: 'sale_id', eventTime: 'at_time', disorder },
            ),
            { topic: 'theirs' },
          ),
        },
        build: ({ sales }) => {
          sales
            .groupBy('sale_id')
            .window(tumbling('1h'))
            .aggregate('sales-by-id', { n: count() })
            .to(table('d.t'))
        },
      })
    const described = (disorder: '1m' | '2m', partitions: number) =>
      describeTopology(
        planPipeline(reading(disorder), { partitions: 2, named: new Map([['theirs', partitions]]) }),
      )
    checkCompatible(described('1m', 3), described('1m', 3))
    assert.throws(
      () => checkCompatible(described('1m', 3), described('1m', 4)),
      /'sales' partitions: 3 when it was written, 4 now/,
    )
    assert.throws(
      () => checkCompatible(described('1m', 3), described('2m', 3)),
      /'sales' disorder: 60000 ms when it was written, 120000 ms now/,
    )
  })

  it('has another hash', () => {
    const hashOf = (size: string): string => topologyHash(planPipeline(windowed(size), { partitions: 2 }))
    assert.equal(hashOf('1h'), hashOf('1h'))
    assert.notEqual(hashOf('1h'), hashOf('5m'))
  })
})
