import assert from 'node:assert/strict'
import type { DriverOptions, PipelineDriver } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import { planPipeline } from '../../processor/topology/plan.ts'
import type { Stream } from '../../processor/topology/stream.ts'
import { count, sum } from '../../processor/windows/aggregates.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table, topic } from '../../schemas/destinations.ts'
import { double, long, optional, schema, string, timestamp } from '../../schemas/schema.ts'
import { finish, openDriver, START } from './support.ts'

const fields = { id: string(), country: string(), amount: double(), happened: timestamp() }
const options = { id: ['id'], key: 'id', eventTime: 'happened', disorder: 0 } as const
const web = contract('WebOrder', fields, options)
const shop = contract('ShopOrder', fields, options)

interface Order {
  readonly id: string
  readonly country: string
  readonly amount: number
  readonly happened: number
}

function pipelineOf(build: (orders: Stream<Order>, fromShop: Stream<Order>) => void): Pipeline {
  return definePipeline({
    name: 'merging',
    sources: { web: source('web', web), shop: source('shop', shop) },
    build: (sources) => build(sources.web, sources.shop),
  })
}

let number = 0
function at(ms: number, given: Partial<Order> = {}): Order {
  return { id: `o-${++number}`, country: 'Norway', amount: 1, happened: START + ms, ...given }
}

describe('streams that part and meet', () => {
  let driver: PipelineDriver

  async function open(pipeline: Pipeline, driverOptions: DriverOptions = {}): Promise<void> {
    driver = await openDriver(pipeline, { partitions: 3, ...driverOptions })
  }

  const amountsOf = async (name: string): Promise<number[]> =>
    (await driver.rows(name)).map(({ amount }) => amount as number).sort((a, b) => a - b)

  afterEach(() => driver.close())

  it('send each record down the first branch that wants it, and what none wants nowhere', async () => {
    await open(
      pipelineOf((orders) => {
        const { large, even, rest } = orders.branch({
          large: (o) => o.amount >= 10,
          even: (o) => o.amount % 2 === 0,
          rest: true,
        })
        large.to(table('d.large'))
        even.to(table('d.even'))
        rest.to(table('d.rest'))
        const { one } = orders.branch({ one: (o) => o.amount === 1 })
        one.to(table('d.one'))
      }),
    )
    await driver.send(
      'web',
      [1, 2, 3, 10, 12].map((amount) => at(0, { amount })),
    )
    await finish(driver)
    assert.deepEqual(await amountsOf('d.large'), [10, 12])
    assert.deepEqual(await amountsOf('d.even'), [2])
    assert.deepEqual(await amountsOf('d.rest'), [1, 3])
    assert.deepEqual(await amountsOf('d.one'), [1])
  })

  it('make a dead letter of a record at which a predicate throws, with the branch, and of that one only', async () => {
    await open(
      pipelineOf((orders) => {
        const { odd, rest } = orders.branch({
          odd: (o) => {
            if (o.amount === 13) throw new RangeError('unlucky')
            return o.amount % 2 === 1
          },
          rest: true,
        })
        odd.to(table('d.odd'))
        rest.to(table('d.rest'))
      }),
    )
    await driver.send(
      'web',
      [1, 2, 13, 3].map((amount) => at(0, { amount })),
    )
    await finish(driver)
    assert.deepEqual([await amountsOf('d.odd'), await amountsOf('d.rest')], [[1, 3], [2]])
    const letters = await driver.deadLetters()
    assert.deepEqual(
      letters.map(({ reason }) => reason),
      ['branch-1.odd: unlucky'],
    )
  })

  it('let you look at each record once, also where state is read ahead, and make a dead letter where looking throws', async () => {
    const seen: string[] = []
    await open(
      pipelineOf((orders) => {
        orders
          .peek((o) => {
            if (o.amount === 13) throw new RangeError('unlucky')
            seen.push(o.id)
          })
          .groupBy('id')
          .window(tumbling('1h'))
          .aggregate('by-id', { records: count() })
          .to(table('d.by_id'))
      }),
      { worker: { cacheBytes: 0, commitRecords: 1, commitIntervalMs: 0 } },
    )
    const orders = [at(0), at(1), at(2, { amount: 13 }), at(3)]
    for (const order of orders) {
      await driver.send('web', [order])
      await driver.settle()
    }
    await finish(driver)
    const kept = orders.filter(({ amount }) => amount !== 13).map(({ id }) => id)
    assert.deepEqual(seen.sort(), kept)
    assert.equal((await driver.rows('d.by_id')).length, 3)
    assert.deepEqual(
      (await driver.deadLetters()).map(({ reason }) => reason),
      ['peek-1: unlucky'],
    )
  })

  it('meet where they are when they are of one task, whatever their values are made of', async () => {
    const build = (orders: Stream<Order>): void => {
      const { large, small } = orders.branch({ large: (o) => o.amount >= 10, small: true })
      const halved = large.map(
        ({ id, country, amount, happened }) => ({ id, country, amount: amount / 2, happened }),
        {
          as: web.schema,
        },
      )
      const all = small.merge('all', halved)
      all.stamp('seen_at').to(table('d.all'))
      const together = small.merge('as-they-are', large).groupBy('id').window(tumbling('1h'))
      together.aggregate('by-id', { total: sum((o) => o.amount) }).to(table('d.by_id'))
    }
    const pipeline = pipelineOf(build)
    const { subTopologies } = planPipeline(pipeline, { partitions: 3 })
    assert.deepEqual(
      subTopologies.map(({ name }) => name),
      ['web', 'shop'],
      'no topic is needed',
    )
    await open(pipeline)
    await driver.send(
      'web',
      [1, 2, 30].map((amount) => at(0, { amount })),
    )
    await driver.send('shop', [at(0)])
    await finish(driver)
    assert.deepEqual(await amountsOf('d.all'), [1, 2, 15])
    assert.deepEqual(
      (await driver.rows('d.by_id')).map(({ total }) => total as number).sort((a, b) => a - b),
      [1, 2, 30],
    )
    assert.ok((await driver.rows('d.all')).every(({ seen_at }) => seen_at === START + 86_400_000))
    assert.deepEqual(await driver.deadLetters(), [])
  })

  it('meet in a topic when they are of several sources, equal keys in one task', async () => {
    const pipeline = pipelineOf((orders, fromShop) => {
      orders
        .merge('all', fromShop)
        .groupBy('id')
        .window(tumbling('1h'))
        .aggregate('by-id', { records: count(), total: sum((o) => o.amount) })
        .to(table('d.by_id'))
    })
    const plan = planPipeline(pipeline, { partitions: 3 })
    assert.deepEqual(
      plan.subTopologies.map(({ name, inputTopic, upstreams }) => [
        name,
        inputTopic,
        upstreams.map((s) => s.name),
      ]),
      [
        ['web', 'merging.web', []],
        ['shop', 'merging.shop', []],
        ['all', 'merging.all-repartition', ['web', 'shop']],
      ],
    )
    await open(pipeline, { processes: 2 })
    const ids = Array.from({ length: 20 }, (_, i) => `order-${i}`)
    await driver.send(
      'web',
      ids.map((id) => at(0, { id })),
    )
    await driver.send(
      'shop',
      ids.map((id) => at(1, { id, amount: 2 })),
    )
    await finish(driver)
    const rows = await driver.rows('d.by_id')
    assert.equal(rows.length, ids.length)
    assert.ok(rows.every(({ records, total }) => records === 2 && total === 3))
  })

  it('are as far in time as the one that is furthest behind', async () => {
    await open(
      pipelineOf((orders, fromShop) => {
        const all = orders.merge('all', fromShop)
        all.window(tumbling('10s')).aggregate('overall', { records: count() }).to(table('d.overall'))
        all
          .groupBy('id')
          .window(tumbling('10s'))
          .aggregate('by-id', { records: count() })
          .to(table('d.by_id'))
      }),
      { processes: 2 },
    )
    const closed = async (): Promise<number[]> => {
      await driver.settle()
      return [(await driver.rows('d.overall')).length, (await driver.rows('d.by_id')).length]
    }
    await driver.send('web', [at(0), at(60_000)])
    assert.deepEqual(await closed(), [0, 0], 'nothing is known of the other')
    await driver.send('shop', [at(5_000)])
    assert.deepEqual(await closed(), [0, 0], 'the other is in the window yet')
    driver.kill(0)
    await driver.send('shop', [at(9_999), at(10_000)])
    assert.deepEqual(await closed(), [1, 3])
    assert.deepEqual((await driver.rows('d.overall'))[0]!['records'], 3)
    assert.deepEqual(await driver.rows('overall-late'), [])
    await finish(driver)
  })

  it('wait for the windows of one of them, which give their rows later', async () => {
    const total = schema('Total', {
      id: string(),
      country: string(),
      amount: double(),
      happened: timestamp(),
    })
    await open(
      pipelineOf((orders, fromShop) => {
        const minutes = orders
          .groupBy('id')
          .window(tumbling('1m'))
          .aggregate('minutes', { amount: sum((o) => o.amount) })
          .map((w) => ({ id: w.id, country: '', amount: w.amount, happened: w.window_start }), { as: total })
        // By one way at once, by the other when the minute has closed; and with another source besides.
        const both = orders.map((o) => ({ id: o.id, country: '', amount: o.amount, happened: o.happened }), {
          as: total,
        })
        const hour = { records: count(), total: sum((o: Order) => o.amount) }
        both.merge('near', minutes).window(tumbling('5m')).aggregate('near-sums', hour).to(table('d.near'))
        both
          .merge('far', minutes, fromShop)
          .window(tumbling('5m'))
          .aggregate('far-sums', hour)
          .to(table('d.far'))
      }),
      { processes: 2, worker: { commitRecords: 1, commitIntervalMs: 0 } },
    )
    await driver.send('web', [at(0), at(1_000, { amount: 2 }), at(290_000, { amount: 4 })])
    await driver.send('shop', [at(0, { amount: 100 }), at(600_000, { amount: 100 })])
    await driver.settle()
    // The last minute of the first window is open yet: so is the window.
    await driver.send('web', [at(299_999, { amount: 8 })])
    await driver.settle()
    assert.deepEqual([await driver.rows('d.near'), await driver.rows('d.far')], [[], []])
    await driver.send('web', [at(300_000, { amount: 16 })])
    await finish(driver)
    const rows = async (name: string): Promise<unknown[]> =>
      (await driver.rows(name)).map((row) => [row['window_start'], row['records'], row['total']])
    assert.deepEqual((await rows('d.near'))[0], [START, 8, 30])
    assert.deepEqual((await rows('d.far'))[0], [START, 9, 130])
    for (const name of ['near-sums-late', 'far-sums-late'])
      assert.deepEqual(await driver.rows(name), [], name)
  })

  it('take no record twice that goes by two ways into a merge of several tasks, and lose none', async () => {
    await open(
      pipelineOf((orders, fromShop) => {
        const { north, rest } = orders.branch({ north: (o) => o.country === 'Norway', rest: true })
        north.merge('all', rest, fromShop).to(topic('all-orders'))
      }),
      { worker: { commitRecords: 1, commitIntervalMs: 0 } },
    )
    const sent = Array.from({ length: 20 }, (_, i) => at(i, { country: i % 2 === 0 ? 'Norway' : 'Chile' }))
    await driver.send('web', sent.slice(0, 15))
    await driver.send('shop', sent.slice(15))
    for (let i = 0; i < 5; i++) {
      await driver.step()
      driver.kill()
    }
    await finish(driver)
    const ids = (await driver.rows('all-orders')).map(({ id }) => id as string).sort()
    assert.deepEqual(ids, sent.map(({ id }) => id).sort())
  })

  it('keep the keys of columns that have been stamped twice', async () => {
    await open(
      pipelineOf((orders) => {
        orders
          .stamp('first_seen')
          .stamp('seen_again')
          .groupBy('id')
          .window(tumbling('1h'))
          .aggregate('by-id', { records: count() })
          .to(table('d.by_id'))
      }),
    )
    const order = at(0)
    await driver.send('web', [order])
    await finish(driver)
    assert.deepEqual(
      (await driver.rows('d.by_id')).map(({ id }) => id),
      [order.id],
    )
  })
})

describe('a merge as written', () => {
  const note = schema('Note', { text: string(), size: long() })
  const noted = (stream: Stream<Order>): Stream<any> =>
    stream.map(() => ({ text: '', size: 1 }), { as: note })

  const refused = (build: Parameters<typeof pipelineOf>[0], code: string, message: RegExp): void => {
    assert.throws(() => pipelineOf(build), { code, message })
  }

  it('is refused, with the field, where the schemas do not fit', () => {
    const other = <S>(as: S): ((orders: Stream<Order>) => void) => {
      return (orders) =>
        void noted(orders).merge(
          'all',
          orders.map(() => ({}), { as: as as never }),
        )
    }
    refused(
      other(schema('Other', { text: string() })),
      'BAD_OPTION',
      /merge 'all': 'map-2' \(Other\) does not fit 'map-1' \(Note\): it has no field 'size' \(long\)\. .*\.map\(…, \{ as/,
    )
    refused(
      other(schema('Other', { text: optional(string()), size: long() })),
      'BAD_OPTION',
      /'text' is optional string, and in the other string/,
    )
    refused(
      other(schema('Other', { text: string(), size: long(), more: long() })),
      'BAD_OPTION',
      /its field 'more' \(long\) is missing in the other/,
    )
    refused(
      other(schema('Other', { size: long(), text: string() })),
      'BAD_OPTION',
      /its fields are in another order/,
    )
  })

  it('takes schemas that differ in their names only', () => {
    pipelineOf((orders, fromShop) => orders.merge('all', fromShop).to(topic('all-orders')))
  })

  it('is refused where streams without a schema would have to meet in a topic, with where to name one', () => {
    const bare = (stream: Stream<Order>) => stream.map(({ id }) => ({ id })).filter(() => true)
    refused(
      (orders, fromShop) => void bare(orders).merge('all', bare(fromShop)),
      'SCHEMA_MISSING',
      /The stream into merge 'all' has no schema.*Name one at 'map-1'/,
    )
    pipelineOf((orders) => void bare(orders).merge('all', bare(orders)))
  })

  it('is refused of a stream with itself, and with one of another pipeline', () => {
    refused((orders) => void orders.merge('all', orders), 'BAD_OPTION', /has the stream 'web-dedupe' twice/)
    let theirs: Stream<Order> | null = null
    pipelineOf((orders) => void (theirs = orders))
    refused(
      (orders) => void orders.merge('all', theirs!),
      'BAD_OPTION',
      /'web-dedupe' is of another pipeline/,
    )
  })

  it('needs the key of a table that updates of two aggregates would fill', () => {
    const running = (stream: Stream<Order>, name: string) =>
      stream.groupBy('country').window(tumbling('1h')).aggregate(name, { n: count() }, { emit: 'updates' })
    refused(
      (orders, fromShop) => running(orders, 'a').merge('both', running(fromShop, 'b')).to(table('d.both')),
      'NOT_ON_UPDATES',
      /changed by 'both'.*table\('d\.both', \{ key/,
    )
    refused(
      (orders, fromShop) =>
        void running(orders, 'a')
          .merge('both', running(fromShop, 'b'))
          .window(tumbling('1d'))
          .aggregate('days', { n: count() }),
      'NOT_ON_UPDATES',
      /aggregate 'days' stands behind the updates of 'a'/,
    )
    refused(
      (orders, fromShop) =>
        running(orders, 'a')
          .merge(
            'both',
            running(fromShop, 'b').selectKey(({ n }) => String(n)),
          )
          .to(table('d.both', { key: ['country'] })),
      'NOT_ON_UPDATES',
      /overtake/,
    )
  })
})

describe('branches as written', () => {
  const refused = (branches: Record<string, true | (() => boolean)>, message: RegExp): void => {
    assert.throws(() => pipelineOf((orders) => void orders.branch(branches)), { code: 'BAD_OPTION', message })
  }

  it('are refused where their order is not the one that they are written in, or none is there', () => {
    refused({}, /it has no branch/)
    refused({ rest: true, large: () => true }, /'rest' takes all that is left.*Put it last/)
    refused({ large: () => true, 1: () => true }, /a branch named 1 would come before the others/)
  })
})
