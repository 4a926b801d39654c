import assert from 'node:assert/strict'
import { table, topic } from '../../../schemas/destinations.ts'
import { long, schema, string } from '../../../schemas/schema.ts'
import { describeText } from '../../../processor/topology/describe.ts'
import { describeTopology } from '../../../processor/topology/diff.ts'
import { definePipeline, source } from '../../../processor/topology/pipeline.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'
import { count } from '../../../processor/windows/aggregates.ts'
import { tumbling } from '../../../processor/windows/tumbling.ts'
import type { Stream } from '../../../processor/topology/stream.ts'
import { pipelineOf, sale, type Sale } from './support.ts'

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
