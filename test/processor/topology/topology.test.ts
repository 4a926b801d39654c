import assert from 'node:assert/strict'
import { contract } from '../../../schemas/contract.ts'
import { table, topic } from '../../../schemas/destinations.ts'
import { double, long, optional, schema, string, timestamp } from '../../../schemas/schema.ts'
import { describeMermaid, describeText } from '../../../processor/topology/describe.ts'
import { checkCompatible } from '../../../processor/topology/compatible.ts'
import { describeTopology, topologyHash } from '../../../processor/topology/diff.ts'
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
      /into topic 'shops' has no schema.*Name one at 'map-1' by \{ as/,
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

  it('may send several streams to one destination, which is one topic and one table', () => {
    const pipeline = pipelineOf((sales) => {
      const { large, rest } = sales.branch({ large: (s) => s.amount >= 100, rest: true })
      const all = topic<Sale>('all')
      large.to(all)
      rest.filter(({ amount }) => amount > 1).to(all)
    })
    const plan = planPipeline(pipeline, { partitions: 2 })
    assert.deepEqual(
      plan.sinks.map(({ topic }) => topic),
      ['shop.all'],
    )
    assert.equal(plan.topics.filter(({ name }) => name === 'shop.all').length, 1)
    assert.deepEqual(describeTopology(plan).outputs, ['all'])
    assert.equal(describeText(plan).match(/topic all /g)?.length, 2)
  })

  it('is refused where streams to one destination differ, are one, or replace each other’s rows', () => {
    const other = schema('Other', { sale_id: string() })
    const refused = (build: (sales: Stream<Sale>) => void, message: RegExp): void =>
      assert.throws(() => pipelineOf(build), { code: 'BAD_OPTION', message })
    refused((sales) => {
      const all = topic<any>('all')
      sales.to(all)
      sales.map(({ sale_id }) => ({ sale_id }), { as: other }).to(all)
    }, /'map-1' does not fit topic 'all', to which 'sales-dedupe' goes: it has no field 'shop'/)
    refused((sales) => {
      const all = table<Sale>('shop.all')
      sales.to(all)
      sales.to(all)
    }, /'sales-dedupe' goes to table 'shop.all' twice/)
    refused((sales) => {
      const all = table<Sale>('shop.all', { key: ['sale_id'] })
      sales.to(all)
      sales.filter(() => true).to(all)
    }, /replace each other.*come in no order.*by merge/)
  })

  it('is refused where it asks whether something stalls that is no source of ours', () => {
    const refused = (build: (sales: Stream<Sale>) => void, message: RegExp): void =>
      assert.throws(() => pipelineOf(build), { code: 'BAD_OPTION', message })
    refused(
      (sales) =>
        sales
          .filter(() => true)
          .stalls('quiet', { after: '1m' })
          .to(topic('quiet')),
      /stalls 'quiet': it is sources that stall/,
    )
    refused(
      (sales) => sales.stalls('quiet', { after: 0 }).to(topic('quiet')),
      /'quiet': after must be longer than nothing/,
    )
    assert.throws(
      () =>
        definePipeline({
          name: 'shop',
          sources: { sales: source('sale-events', sale, { topic: 'theirs' }) },
          build: ({ sales }) => sales.stalls('quiet', { after: '1m' }).to(topic('quiet')),
        }),
      { code: 'BAD_OPTION', message: /others write the topic 'theirs', which has no heartbeats/ },
    )
  })

  it('is refused where it says how others write a topic, and not which', () => {
    assert.throws(
      () =>
        definePipeline({
          name: 'shop',
          sources: { sales: source('sale-events', sale, { encoding: 'bare' }) },
          build: ({ sales }) => sales.to(topic('copy')),
        }),
      { code: 'BAD_OPTION', message: /source 'sales'.*name it with \{ topic \}/ },
    )
  })

  for (const [what, options, says] of [
    ['as JSON', { format: 'json', notify: { text: () => '' } }, /notify reads Avro/],
    [
      'in runs of rows without windows',
      { notify: { text: () => '', runsOf: ['shop'] } },
      /column window_start/,
    ],
    [
      'for each shop, and in no runs',
      { notify: { text: () => '', per: ['shop'] } },
      /'per' without 'runsOf'/,
    ],
  ] as [string, Parameters<typeof topic<Sale>>[1], RegExp][]) {
    it(`is refused where people are to be told of a topic ${what}`, () => {
      assert.throws(() => pipelineOf((sales) => sales.to(topic('sold', options))), {
        code: 'BAD_OPTION',
        message: says,
      })
    })
  }

  it('has a topic for what people have been told, where they are told of something', () => {
    const notices = (pipeline: ReturnType<typeof definePipeline>): string[] =>
      planPipeline(pipeline, { partitions: 4 })
        .topics.filter(({ name, partitions }) => name.endsWith('.notices') && partitions === 1)
        .map(({ name }) => name)
    const told = pipelineOf((sales) => sales.to(topic('sold', { notify: { text: ({ shop }) => shop } })))
    assert.deepEqual(notices(told), ['shop.notices'])
    assert.deepEqual(notices(pipelineOf((sales) => sales.to(topic('sold')))), [])
  })

  it('is refused where groups are asked to have empty windows', () => {
    assert.throws(
      () => pipelineOf((sales) => void sales.groupBy('shop').window(tumbling('1h', { emptyWindows: true }))),
      /emptyWindows is for aggregates over all records/,
    )
  })

  describe('with updates', () => {
    const updates = (sales: Stream<Sale>) =>
      sales
        .groupBy('shop')
        .window(tumbling('1h'))
        .aggregate('by-shop', { sales: count() }, { emit: 'updates' })
    const shop = schema('Shop', { shop: string(), sales: long() })
    const keyOf = (build: (sales: Stream<Sale>) => void): unknown =>
      planPipeline(pipelineOf(build), { partitions: 2 }).sinks[0]!.table.key

    it('is refused where a window would count them, and where a dedupe would drop them', () => {
      assert.throws(
        () =>
          pipelineOf((sales) => void updates(sales).window(tumbling('1d')).aggregate('days', { n: count() })),
        { code: 'NOT_ON_UPDATES', message: /aggregate 'days' stands behind the updates of 'by-shop'/ },
      )
      assert.throws(
        () =>
          pipelineOf((sales) => {
            const mapped = updates(sales).map(({ shop: name, sales: n }) => ({ shop: name, sales: n }), {
              as: shop,
            })
            mapped
              .filter(({ sales: n }) => n > 0)
              .groupBy('shop')
              .window(tumbling('1d'))
              .aggregate('days', {})
          }),
        { code: 'NOT_ON_UPDATES' },
      )
      assert.throws(() => pipelineOf((sales) => void updates(sales).dedupe('once', { id: ['shop'] })), {
        code: 'NOT_ON_UPDATES',
        message: /dedupe 'once'.*emit: 'final'/,
      })
    })

    it('may count what came too late for them', () => {
      pipelineOf((sales) => {
        updates(sales)
          .late.map(({ shop: name }) => ({ shop: name, sales: 1 }), { as: shop })
          .window(tumbling('1d'))
          .aggregate('late-days', { n: count() })
      })
    })

    it('has tables in which rows replace each other by group and window', () => {
      assert.deepEqual(
        keyOf((sales) => updates(sales).stamp('seen_at').to(table('d.by_shop'))),
        ['shop', 'window_start'],
      )
      assert.deepEqual(
        keyOf((sales) => {
          sales
            .window(tumbling('1h'))
            .aggregate('all', { sales: count() }, { emit: 'updates' })
            .to(table('d.all'))
        }),
        ['window_start'],
      )
      assert.equal(
        keyOf((sales) => updates(sales).to(topic('shops'))),
        undefined,
        'a topic has every update',
      )
      assert.equal(
        keyOf((sales) => sales.to(table('d.sales'))),
        undefined,
      )
    })

    it('needs the key of a table whose rows a function makes', () => {
      const mapped = (sales: Stream<Sale>) =>
        updates(sales).map(({ shop: name, sales: n }) => ({ shop: name, sales: n }), { as: shop })
      assert.throws(() => pipelineOf((sales) => mapped(sales).to(table('d.shops'))), {
        code: 'NOT_ON_UPDATES',
        message: /changed by 'map-1'.*table\('d\.shops', \{ key/,
      })
      assert.deepEqual(
        keyOf((sales) => mapped(sales).to(table('d.shops', { key: ['shop'] }))),
        ['shop'],
      )
      const wrong = ['sold'] as unknown as ['shop']
      assert.throws(() => pipelineOf((sales) => mapped(sales).to(table('d.shops', { key: wrong }))), {
        code: 'BAD_OPTION',
        message: /key column 'sold', which Shop does not have/,
      })
    })

    it('is refused where updates would overtake each other on the way to a table', () => {
      const rekeyed = (sales: Stream<Sale>) => updates(sales).selectKey(({ sales: n }) => String(n))
      assert.throws(() => pipelineOf((sales) => rekeyed(sales).to(table('d.by_shop'))), {
        code: 'NOT_ON_UPDATES',
        message: /overtake/,
      })
      pipelineOf((sales) => rekeyed(sales).to(topic('by-count')))
    })
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
