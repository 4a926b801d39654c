import assert from 'node:assert/strict'
import { table, topic } from '../../../schemas/destinations.ts'
import { describeMermaid, describeText } from '../../../processor/topology/describe.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'
import { count, sum } from '../../../processor/windows/aggregates.ts'
import { tumbling } from '../../../processor/windows/tumbling.ts'
import type { Stream } from '../../../processor/topology/stream.ts'
import orders from '../../../pipelines/orders/index.ts'
import { pipelineOf, type Sale } from './support.ts'

describe('the plan of a topology', () => {
  it('splits orders at the partials of its keyless window, and names all after what it is', () => {
    const plan = planPipeline(orders, { partitions: 4 })
    assert.deepEqual(
      plan.subTopologies.map(({ name, inputTopic, partitions, stores, upstreams }) => ({
        name,
        inputTopic,
        partitions,
        stores: stores.map((store) => store.name),
        upstreams: upstreams.map((upstream) => upstream.name),
      })),
      [
        {
          name: 'orders',
          inputTopic: 'orders.order-events',
          partitions: 4,
          stores: ['orders-dedupe', 'metrics-partial'],
          upstreams: [],
        },
        {
          name: 'metrics',
          inputTopic: 'orders.metrics-repartition',
          partitions: 1,
          stores: ['metrics'],
          upstreams: ['orders'],
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

  it('aggregates by the key of the source where the records lie', () => {
    const byId = (sales: Stream<Sale>) =>
      sales
        .filter((s) => s.amount > 0)
        .stamp('seen_at')
        .groupBy('sale_id')
        .window(tumbling('1h'))
        .aggregate('by-id', { total: sum((s) => s.amount) })
    const roots = (build: (sales: Stream<Sale>) => void): string[] =>
      planPipeline(pipelineOf(build), { partitions: 3 }).subTopologies.map(({ name }) => name)
    assert.deepEqual(
      roots((sales) => byId(sales).to(table('shop.by_id'))),
      ['sales'],
    )
    assert.deepEqual(
      roots((sales) => byId(sales.selectKey((s) => s.shop)).to(table('shop.by_id'))),
      ['sales', 'by-id-by-key'],
    )
    assert.deepEqual(
      roots((sales) => {
        sales.groupBy('sale_id', 'shop').window(tumbling('1h')).aggregate('both', { n: count() })
      }),
      ['sales', 'both-by-key'],
    )
  })

  it('has each topic once, under a name that a log takes', () => {
    const planned = (build: (sales: Stream<Sale>) => void): unknown =>
      planPipeline(pipelineOf(build), { partitions: 3 })
    assert.throws(
      () =>
        planned((sales) => {
          sales.to(topic('one', { topic: 'theirs' }))
          sales.to(topic('two', { topic: 'theirs' }))
        }),
      { code: 'DUPLICATE_NAME', message: /topic 'theirs' twice/ },
    )
    assert.throws(() => planned((sales) => sales.to(topic('loop', { topic: 'shop.sale-events' }))), {
      code: 'DUPLICATE_NAME',
    })
    for (const name of ['', 'a b', 'ü'])
      assert.throws(() => planned((sales) => sales.to(topic('one', { topic: name }))), { code: 'BAD_OPTION' })
  })

  it('is shown with where streams part and meet', () => {
    const plan = planPipeline(
      pipelineOf((sales) => {
        const { large, small } = sales
          .peek(() => undefined)
          .branch({ large: (s) => s.amount > 9, small: true })
        large.merge('near', small).to(topic('near-sales'))
        large.merge('far', small.repartition('smalls')).to(topic('far-sales'))
      }),
      { partitions: 2 },
    )
    const [text, mermaid] = [describeText(plan), describeMermaid(plan)]
    for (const line of [
      /branch-1: large, small +<- peek-1/,
      /merge near +<- branch-1\.large, branch-1\.small/,
      /Sub-topology far \(2 tasks\)\n {2}reads {6}shop\.far-repartition\n {2}merge shop\.far-repartition +<- branch-1\.large, smalls/,
    ]) {
      assert.match(text, line)
    }
    const idOf = (label: string): string => new RegExp(`(n\\d+)\\["${label}"\\]`).exec(mermaid)![1]!
    for (const edge of [
      `${idOf('branch-1: large, small')} -- "large" --> ${idOf('branch-1.large')}`,
      `${idOf('branch-1.small')} --> ${idOf('merge near')}`,
      `${idOf('branch-1.large')} -- "shop.far-repartition" --> ${idOf('merge shop.far-repartition')}`,
    ]) {
      assert.ok(mermaid.includes(edge), edge)
    }
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
