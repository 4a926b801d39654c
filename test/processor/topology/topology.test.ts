import assert from 'node:assert/strict'
import { contract } from '../../../schemas/contract.ts'
import { table, topic } from '../../../schemas/destinations.ts'
import { double, optional, string, timestamp } from '../../../schemas/schema.ts'
import { describeMermaid, describeText } from '../../../processor/topology/describe.ts'
import { checkCompatible, describeTopology, topologyHash } from '../../../processor/topology/diff.ts'
import { definePipeline, source } from '../../../processor/topology/pipeline.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'
import { count, sum } from '../../../processor/windows/aggregates.ts'
import { tumbling } from '../../../processor/windows/tumbling.ts'
import type { Stream } from '../../../processor/topology/stream.ts'
import orders from '../../../pipelines/orders/index.ts'

const sale = contract(
  'Sale',
  { sale_id: string(), shop: string(), amount: double(), note: optional(string()), at_time: timestamp() },
  { id: ['sale_id'], key: 'sale_id', eventTime: 'at_time', disorder: '1m' },
)
type Sale = { sale_id: string; shop: string; amount: number; note: string | null; at_time: number }

function pipelineOf(build: (sales: Stream<Sale>) => void): ReturnType<typeof definePipeline> {
  return definePipeline({
    name: 'shop',
    sources: { sales: source('sale-events', sale) },
    build: ({ sales }) => build(sales),
  })
}

describe('a pipeline as written', () => {
  it('is refused, with the place, where a mapped stream leaves its task without a schema', () => {
    assert.throws(
      () => pipelineOf((sales) => sales.map(({ shop }) => ({ shop })).to(topic('shops'))),
      /into topic 'shops' has no schema.*name one at 'map-1' by \{ as/,
    )
  })

  it('is refused where two nodes have one name', () => {
    assert.throws(
      () =>
        pipelineOf((sales) => {
          sales.to(topic('copy'))
          sales.to(topic('copy'))
        }),
      /Two nodes are named 'copy'.*rename one/,
    )
  })

  it('is refused where groups are asked to have empty windows', () => {
    assert.throws(
      () => pipelineOf((sales) => void sales.groupBy('shop').window(tumbling('1h', { emptyWindows: true }))),
      /emptyWindows is for aggregates over all records/,
    )
  })

  it('sends a late stream that it leaves alone to a topic of its own', () => {
    const plan = planPipeline(
      pipelineOf((sales) => {
        sales.window(tumbling('1h')).aggregate('hours', { sales: count() }).to(table('shop.hours'))
      }),
      { partitions: 2 },
    )
    assert.deepEqual(
      plan.sinks.map(({ node }) => node.name),
      ['shop.hours', 'hours-late'],
    )
  })
})

describe('the plan of a topology', () => {
  it('splits orders at the partials of its keyless window, and names all after what it is', () => {
    const plan = planPipeline(orders, { partitions: 4 })
    assert.deepEqual(
      plan.subTopologies.map(({ name, inputTopic, partitions, stores, upstream }) => ({
        name,
        inputTopic,
        partitions,
        stores: stores.map((store) => store.name),
        upstream: upstream?.name ?? null,
      })),
      [
        {
          name: 'orders',
          inputTopic: 'orders.order-events',
          partitions: 4,
          stores: ['orders-dedupe', 'metrics-partial'],
          upstream: null,
        },
        {
          name: 'metrics',
          inputTopic: 'orders.metrics-repartition',
          partitions: 1,
          stores: ['metrics'],
          upstream: 'orders',
        },
      ],
    )
    assert.deepEqual(
      plan.sinks.map(({ topic, table: { name } }) => [topic, name]),
      [
        ['orders.ecommerce_orders.orders', 'ecommerce_orders.orders'],
        ['orders.ecommerce_orders.hourly_metrics', 'ecommerce_orders.hourly_metrics'],
        ['orders.order-alerts', 'ecommerce_orders.order_alerts'],
        ['orders.metrics-late', 'ecommerce_orders.metrics_late'],
      ],
    )
  })

  it('keeps equal groups together through a repartition topic', () => {
    const plan = planPipeline(
      pipelineOf((sales) => {
        sales
          .groupBy('shop')
          .window(tumbling('1h'))
          .aggregate('by-shop', { total: sum((s) => s.amount) })
          .to(table('shop.by_shop'))
      }),
      { partitions: 3 },
    )
    assert.deepEqual(
      plan.subTopologies.map(({ name, inputTopic, partitions }) => [name, inputTopic, partitions]),
      [
        ['sales', 'shop.sale-events', 3],
        ['by-shop-by-key', 'shop.by-shop-by-key-repartition', 3],
      ],
    )
  })

  it('is shown as text and as a Mermaid flowchart with every node', () => {
    const plan = planPipeline(orders, { partitions: 4 })
    const [text, mermaid] = [describeText(plan), describeMermaid(plan)]
    assert.match(text, /Sub-topology metrics \(1 task\)\n {2}reads {6}orders\.metrics-repartition/)
    assert.match(mermaid, /^flowchart TD\n/)
    for (const name of ['dedupe by order_id, status', 'ecommerce_orders.hourly_metrics', 'order-alerts']) {
      assert.ok(text.includes(name) && mermaid.includes(name), name)
    }
  })
})

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

  it('has another hash', () => {
    const hashOf = (size: string): string => topologyHash(planPipeline(windowed(size), { partitions: 2 }))
    assert.equal(hashOf('1h'), hashOf('1h'))
    assert.notEqual(hashOf('1h'), hashOf('5m'))
  })
})
