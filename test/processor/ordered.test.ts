import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { testScale } from '../../config/test-scale.ts'
import { partitionFor } from '../../log/partitioner.ts'
import type { DriverOptions, PipelineDriver } from '../../processor/testing/driver.ts'
import { definePipeline, source, type Pipeline } from '../../processor/topology/pipeline.ts'
import type { Stream } from '../../processor/topology/stream.ts'
import { count } from '../../processor/windows/aggregates.ts'
import { first, last } from '../../processor/windows/first-last.ts'
import { reduce } from '../../processor/windows/reduce.ts'
import { tumbling } from '../../processor/windows/tumbling.ts'
import { contract } from '../../schemas/contract.ts'
import { table } from '../../schemas/destinations.ts'
import { boolean, double, optional, schema, string, timestamp } from '../../schemas/schema.ts'
import { follow, schedules } from './schedule.ts'
import { finish, openDriver, START } from './support.ts'

const TIMING = { sizeMs: 10_000, graceMs: 2_000, disorderMs: 15_000 }

const fields = {
  id: string(),
  key: string(),
  text: optional(string()),
  amount: double(),
  happened: timestamp(),
}
const options = { id: ['id'], key: 'id', eventTime: 'happened', disorder: TIMING.disorderMs } as const
const web = contract('WebEvent', fields, options)
const shop = contract('ShopEvent', fields, options)

interface Event {
  readonly id: string
  readonly key: string
  readonly text: string | null
  readonly amount: number
  readonly happened: number
}

const columns = {
  records: count(),
  first_text: first((e: Event) => e.text, string()),
  last_text: last((e: Event) => e.text, string()),
  last_amount: last((e: Event) => e.amount, double()),
  // Of several that are as long the earliest, whatever comes first.
  longest: reduce(
    (e: Event) => e.text,
    (a, b) => (b.length > a.length ? b : a),
    string(),
  ),
  least: reduce((e: Event) => e.amount, Math.min, double()),
}
const sale = schema('Sale', { id: string(), amount: double() })
const largest = {
  of: ({ id, amount }: Event) => ({ id, amount }),
  combine: <S extends { amount: number }>(a: S, b: S) => (b.amount > a.amount ? b : a),
  as: sale,
}

function pipelineOf(build: (web: Stream<Event>, shop: Stream<Event>) => void): Pipeline {
  return definePipeline({
    name: 'ordered',
    sources: { web: source('web', web), shop: source('shop', shop) },
    build: (sources) => build(sources.web, sources.shop),
  })
}

const windows = (): ReturnType<typeof tumbling> => tumbling(TIMING.sizeMs, { grace: TIMING.graceMs })

/** Over one source and over two, with groups and without, as final rows and as updates. */
const all = pipelineOf((fromWeb, fromShop) => {
  const merged = fromWeb.merge('all', fromShop)
  const byKey = merged.groupBy('key').window(windows())
  byKey.aggregate('by-key', columns).to(table('d.by_key'))
  byKey.aggregate('running', columns, { emit: 'updates' }).to(table('d.running'))
  byKey.reduce('largest', largest).to(table('d.largest'))
  merged.window(windows()).aggregate('overall', columns).to(table('d.overall'))
  fromWeb.window(windows()).reduce('largest-web', largest).to(table('d.largest_web'))
})

type Row = Record<string, unknown>
interface Given {
  readonly event: Event
  readonly source: 'web' | 'shop'
}

const originOf = (name: string): number => createHash('sha256').update(name).digest().readUInt32BE(0)

/** Those that are in time, in the order that the design fixes. */
function inOrder(given: readonly Given[], partitions: number): Given[] {
  const greatest = { web: -Infinity, shop: -Infinity }
  const kept = given.filter(({ event, source: name }) => {
    const watermark = greatest[name] - TIMING.disorderMs
    greatest[name] = Math.max(greatest[name], event.happened)
    const end = Math.floor(event.happened / TIMING.sizeMs) * TIMING.sizeMs + TIMING.sizeMs
    return watermark < end + TIMING.graceMs
  })
  const partitionOf = ({ event }: Given): number => partitionFor(Buffer.from(event.id), partitions)
  return kept.sort(
    (a, b) =>
      a.event.happened - b.event.happened ||
      originOf(a.source) - originOf(b.source) ||
      partitionOf(a) - partitionOf(b) ||
      given.indexOf(a) - given.indexOf(b),
  )
}

function grouped(events: readonly Event[], keyOf: (event: Event) => string | null): Map<string, Event[]> {
  return Map.groupBy(events, (event) => {
    const start = Math.floor(event.happened / TIMING.sizeMs) * TIMING.sizeMs
    return JSON.stringify([keyOf(event), start])
  })
}

function rowOf(events: readonly Event[]): Row {
  const texts = events.map(({ text }) => text).filter((text) => text !== null)
  const length = Math.max(...texts.map((text) => text.length))
  return {
    records: events.length,
    first_text: texts[0] ?? null,
    last_text: texts.at(-1) ?? null,
    last_amount: events.at(-1)!.amount,
    longest: texts.find((text) => text.length === length) ?? null,
    least: Math.min(...events.map(({ amount }) => amount)),
  }
}

function largestOf(events: readonly Event[]): Row {
  const amount = Math.max(...events.map((event) => event.amount))
  return { id: events.find((event) => event.amount === amount)!.id, amount }
}

function expected(groups: Map<string, Event[]>, of: (events: readonly Event[]) => Row): Map<string, Row> {
  return new Map([...groups].map(([group, events]) => [group, of(events)]))
}

/** By group and window; of several the latest, as a table has them. */
function actual(rows: readonly Row[]): Map<string, Row> {
  return new Map(
    rows.map(({ key, window_start, window_end, ...row }) => {
      assert.equal(window_end, (window_start as number) + TIMING.sizeMs)
      return [JSON.stringify([key ?? null, window_start]), row]
    }),
  )
}

let number = 0
function at(ms: number, given: Partial<Event> = {}): Event {
  return { id: `e-${++number}`, key: 'a', text: null, amount: 1, happened: START + ms, ...given }
}

describe('aggregates that hang on the order of records', () => {
  let driver: PipelineDriver

  async function open(pipeline: Pipeline, driverOptions: DriverOptions = {}): Promise<void> {
    driver = await openDriver(pipeline, { partitions: 2, ...driverOptions })
  }

  afterEach(() => driver.close())

  it('give the same whatever comes first, in however many tasks, through crashes and lost state', async function () {
    this.timeout(300_000)
    const event = fc.record({
      // Many at one time: source, partition and offset decide.
      atMs: fc.integer({ min: 0, max: 30 }).map((n) => n * 1_500),
      key: fc.constantFrom('a', 'b'),
      text: fc.option(fc.constantFrom('', 'x', 'yy', 'ñandú', '日本語', 'zz')),
      amount: fc.integer({ min: -2, max: 2 }),
      source: fc.constantFrom('web' as const, 'shop' as const),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(event, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 6 }),
        schedules,
        fc.constantFrom(1, 2, 5),
        fc.constantFrom(1, 2),
        fc.constantFrom(1, 3, 1_000),
        fc.constantFrom(0, 64 * 1024 * 1024),
        async (parts, schedule, partitions, processes, commitRecords, cacheBytes) => {
          await open(all, {
            partitions,
            processes,
            worker: { commitRecords, cacheBytes, fetchBytes: 300, commitIntervalMs: 0 },
          })
          const given: Given[] = []
          for (const part of parts) {
            for (const { source: name, atMs, ...rest } of part) {
              const sent = at(atMs, rest)
              given.push({ event: sent, source: name })
              await driver.send(name, [sent])
            }
            await follow(schedule, driver, given.length % processes)
          }
          await finish(driver)
          const sorted = inOrder(given, partitions)
          const events = sorted.map((one) => one.event)
          const byKey = grouped(events, ({ key }) => key)
          assert.deepEqual(actual(await driver.rows('d.by_key')), expected(byKey, rowOf), 'by key')
          assert.deepEqual(actual(await driver.rows('d.running')), expected(byKey, rowOf), 'updates')
          assert.deepEqual(actual(await driver.rows('d.largest')), expected(byKey, largestOf), 'rows by key')
          const overall = grouped(events, () => null)
          assert.deepEqual(actual(await driver.rows('d.overall')), expected(overall, rowOf), 'without groups')
          const ofWeb = sorted.filter((one) => one.source === 'web').map((one) => one.event)
          assert.deepEqual(
            actual(await driver.rows('d.largest_web')),
            expected(
              grouped(ofWeb, () => null),
              largestOf,
            ),
            'rows of one source',
          )
          const late = given.length - events.length
          assert.equal((await driver.rows('by-key-late')).length, late)
          assert.deepEqual(await driver.deadLetters(), [])
          await driver.close()
        },
      ),
      { numRuns: testScale.slowPropertyRuns },
    )
    await open(all)
  })

  it('take the values that one record becomes in their order, by whatever way they come', async () => {
    const part = schema('Part', { name: string(), group: string() })
    await open(
      pipelineOf((fromWeb) => {
        const parts = fromWeb.flatMap(
          ({ text }) => Array.from(text ?? '').map((name) => ({ name, group: text! })),
          { as: part },
        )
        const edges = { first: first(({ name }: { name: string }) => name, string()) }
        const ends = { ...edges, last: last(({ name }: { name: string }) => name, string()) }
        // Through as many tasks as there are letters, and together again.
        parts
          .groupBy('name')
          .window(tumbling('1d'))
          .aggregate('each', { group: first(({ group }) => group, string()) })
        parts
          .selectKey(({ name }) => name)
          .repartition('apart')
          .groupBy('group')
          .window(tumbling('1d'))
          .aggregate('together', ends)
          .to(table('d.together'))
      }),
      { partitions: 5, processes: 2, worker: { commitRecords: 1, commitIntervalMs: 0 } },
    )
    await driver.send('web', [at(0, { text: 'qwertz' }), at(0, { text: 'zxcvbq' })])
    await driver.send('shop', [at(0)])
    await driver.step(1)
    await finish(driver)
    assert.deepEqual(
      (await driver.rows('d.together'))
        .map(({ group, first: from, last: to }) => [group, from, to])
        .sort((a, b) => String(a[0]).localeCompare(String(b[0]))),
      [
        ['qwertz', 'q', 'z'],
        ['zxcvbq', 'z', 'q'],
      ],
    )
  })

  it('leave nulls out, and are null where there is nothing else', async () => {
    await open(
      pipelineOf((fromWeb) => {
        fromWeb
          .window(tumbling('10s', { emptyWindows: true }))
          .aggregate('texts', {
            text: first((e) => e.text, string()),
            flag: last((e) => (e.text === null ? null : e.amount > 1), boolean()),
            moment: last((e) => e.happened, timestamp()),
            joined: reduce(
              (e) => e.text,
              (a, b) => (a < b ? a : b),
              string(),
            ),
          })
          .to(table('d.texts'))
      }),
    )
    await driver.send('web', [at(0), at(1_000, { text: '', amount: 2 }), at(21_000)])
    await driver.send('shop', [at(0)])
    await finish(driver)
    assert.deepEqual(
      (await driver.rows('d.texts')).map(({ text, flag, moment, joined }) => [text, flag, moment, joined]),
      [
        ['', true, START + 1_000, ''],
        [null, null, null, null],
        [null, null, START + 21_000, null],
      ],
    )
  })

  it('refuse a value of another type, and what a function of yours throws, before a column has moved', async () => {
    await open(
      pipelineOf((fromWeb) => {
        fromWeb
          .groupBy('key')
          .window(tumbling('10s'))
          .aggregate('checked', {
            records: count(),
            text: first((e) => (e.amount === 13 ? (13 as unknown as string) : e.text), string()),
            product: reduce(
              (e) => e.amount,
              (a, b) => {
                if (b === 7) throw new RangeError('seven')
                return b === 8 ? NaN : a * b
              },
              double(),
            ),
          })
          .to(table('d.checked'))
      }),
      { partitions: 1 },
    )
    const amounts = [2, 13, 3, 7, 8, 5]
    await driver.send(
      'web',
      amounts.map((amount, i) => at(i * 100, { amount, text: 'x' })),
    )
    await driver.send('shop', [at(0)])
    await finish(driver)
    const [row] = await driver.rows('d.checked')
    assert.deepEqual([row!['records'], row!['text'], row!['product']], [3, 'x', 30])
    assert.deepEqual(
      (await driver.deadLetters()).map(({ reason }) => reason),
      [
        'checked: first string: expected text or null, got 13',
        'checked: seven',
        'checked: reduce double: expected a finite number or null, got NaN',
      ],
    )
  })

  it('make a dead letter of a window whose parts a function of yours cannot join', async () => {
    await open(
      pipelineOf((fromWeb) => {
        fromWeb
          .window(tumbling('10s'))
          .aggregate('joined', {
            amount: reduce(
              (e) => e.amount,
              (a, b) => {
                if (a + b > 100) throw new RangeError('too much')
                return a + b
              },
              double(),
            ),
          })
          .to(table('d.joined'))
      }),
      { partitions: 5 },
    )
    await driver.send('web', [
      ...Array.from({ length: 20 }, () => at(0, { amount: 10 })),
      at(11_000, { amount: 1 }),
    ])
    await driver.send('shop', [at(0)])
    await finish(driver)
    assert.deepEqual(
      (await driver.rows('d.joined')).map(({ window_start, amount }) => [window_start, amount]),
      [[START + 10_000, 1]],
    )
    const letters = await driver.deadLetters()
    assert.deepEqual([...new Set(letters.map(({ reason }) => reason))], ['joined: too much'])
  })

  it('do not let a function of yours change what it is given', async () => {
    await open(
      pipelineOf((fromWeb) => {
        fromWeb
          .groupBy('key')
          .window(tumbling('10s'))
          .reduce('summed', {
            ...largest,
            combine: (a, b) => {
              ;(a as { amount: number }).amount += b.amount
              return a
            },
          })
          .to(table('d.summed'))
      }),
      { partitions: 1 },
    )
    await driver.send('web', [at(0, { amount: 5 }), at(0, { amount: 6 })])
    await driver.send('shop', [at(0)])
    await finish(driver)
    assert.deepEqual(
      (await driver.rows('d.summed')).map(({ amount }) => amount),
      [5],
    )
    assert.match(
      (await driver.deadLetters())[0]!.reason,
      /summed: Cannot assign to read only property 'amount'/,
    )
  })
})
