import assert from 'node:assert/strict'
import { PipelineDriver } from '../../../processor/testing/driver.ts'
import { checkCompatible } from '../../../processor/topology/compatible.ts'
import { describeTopology, topologyHash } from '../../../processor/topology/diff.ts'
import { definePipeline, source, type Pipeline, type Source } from '../../../processor/topology/pipeline.ts'
import { planPipeline } from '../../../processor/topology/plan.ts'
import type { Stream } from '../../../processor/topology/stream.ts'
import { avg, count, max, min, sum } from '../../../processor/windows/aggregates.ts'
import { first } from '../../../processor/windows/first-last.ts'
import { tumbling } from '../../../processor/windows/tumbling.ts'
import { contract } from '../../../schemas/contract.ts'
import { table, topic } from '../../../schemas/destinations.ts'
import { double, long, optional, schema, string, timestamp, type Fields } from '../../../schemas/schema.ts'

const FIELDS = { id: string(), shop: string(), amount: double(), happened: timestamp() }
interface Sale {
  readonly id: string
  readonly shop: string
  readonly amount: number
  readonly happened: number
}

interface Edit {
  readonly fields?: Fields
  readonly horizon?: '1h'
  readonly version?: number
  readonly retired?: readonly string[]
  readonly more?: boolean
  readonly build?: (sales: Stream<Sale>, returns: Stream<Sale>) => void
}

const hourly = (sales: Stream<Sale>): void => {
  sales.groupBy('shop').window(tumbling('1h')).aggregate('hours', { n: count() }).to(table('d.hours'))
}

function edited({ fields = FIELDS, horizon, build = hourly, more, ...rest }: Edit = {}): Pipeline {
  const sale = contract('Sale', fields as typeof FIELDS, {
    id: ['id'],
    key: 'id',
    eventTime: 'happened',
    disorder: '1m',
  })
  const sales = source('sales', sale, horizon === undefined ? {} : { dedupeHorizon: horizon })
  const sources: Record<string, Source<Sale>> = more ? { sales, returns: source('returns', sale) } : { sales }
  return definePipeline({
    name: 'edited',
    sources,
    ...rest,
    build: (streams) => build(streams['sales']!, streams['returns']!),
  })
}

const described = (edit: Edit, partitions = 2): ReturnType<typeof describeTopology> =>
  describeTopology(planPipeline(edited(edit), { partitions }))

const compare = (before: Edit, after: Edit): ReturnType<typeof checkCompatible> =>
  checkCompatible(described(before), described(after), edited(after).graph.retired)

/** The message after its first line. */
function refusal(before: Edit, after: Edit): string[] {
  try {
    compare(before, after)
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    assert.equal(code, 'INCOMPATIBLE_TOPOLOGY')
    const [first_, ...lines] = message.split('\n')
    assert.equal(first_, "The state of 'edited' was written by another topology:")
    return lines
  }
  return assert.fail('it was accepted')
}

const UNDO =
  'Undo the change, or start in another directory (--data-dir; on Kafka under another name), where the input is ' +
  'processed anew.'
const anew = (name: string, version = 2): string =>
  `  - { version: ${version} } lets '${name}' begin anew from here on: what it kept, its open windows among it, is let go`
const OR = `${UNDO} Or go on from here:`

const windowed = (size: string, grace?: string): Edit => ({
  build: (sales) => {
    sales
      .groupBy('shop')
      .window(tumbling(size as '1h', grace === undefined ? {} : { grace: grace as '1h' }))
      .aggregate('hours', { n: count() })
      .to(table('d.hours'))
  },
})

const aggregated = (columns: Record<string, ReturnType<typeof count>>, version?: number): Edit => ({
  build: (sales) => {
    const options = version === undefined ? {} : { version }
    sales.groupBy('shop').window(tumbling('1h')).aggregate('hours', columns, options).to(table('d.hours'))
  },
})

const amount = (s: Sale): number => s.amount

describe('an edit that the state does not fit', () => {
  it('is another size or grace of a window', () => {
    assert.deepEqual(refusal({}, windowed('5m')), [
      "  - 'hours' windows: tumbling 3600000 ms when it was written, tumbling 300000 ms now",
      OR,
      anew('hours'),
    ])
    assert.deepEqual(refusal({}, windowed('1h', '10s')), [
      "  - 'hours' grace: 0 ms when it was written, 10000 ms now",
      OR,
      anew('hours'),
    ])
  })

  it('is another key, or one where there was none', () => {
    const by = (...columns: ('id' | 'shop' | 'amount')[]): Edit => ({
      build: (sales) =>
        void sales
          .groupBy(...(columns as ['id']))
          .window(tumbling('1h'))
          .aggregate('hours', { n: count() }),
    })
    const keyless: Edit = {
      build: (sales) => void sales.window(tumbling('1h')).aggregate('hours', { n: count() }),
    }
    assert.deepEqual(refusal(by('shop'), by('shop', 'amount')), [
      "  - 'hours' key: shop when it was written, shop, amount now",
      OR,
      anew('hours'),
    ])
    assert.deepEqual(refusal(by('shop'), by('id')), [
      "  - repartition 'hours-by-key' is gone",
      "  - 'hours' key: shop when it was written, id now",
      "  - 'hours' sub-topology: hours-by-key when it was written, sales now",
      OR,
      anew('hours'),
    ])
    assert.deepEqual(refusal(by('shop'), keyless).slice(0, 2), [
      "  - repartition 'hours-by-key' is gone",
      "  - 'hours' kind: window when it was written, window-final now",
    ])
  })

  it('is an aggregate more, less or another one', () => {
    const was = 'n = count'
    for (const [columns, now] of [
      [{ n: count(), total: sum(amount) }, 'n = count, total = sum'],
      [{ n: sum(amount) }, 'n = sum'],
      [{ m: count() }, 'm = count'],
      [{ n: avg(amount) }, 'n = avg'],
      [{ n: min(amount), m: max(amount) }, 'n = min, m = max'],
      [{ n: first((s: Sale) => s.shop, string()) }, 'n = first string'],
    ] as const) {
      assert.deepEqual(refusal({}, aggregated(columns as never)), [
        `  - 'hours' aggregates: ${was} when it was written, ${now} now`,
        OR,
        anew('hours'),
      ])
    }
  })

  it('is another horizon of a dedupe', () => {
    assert.deepEqual(refusal({}, { horizon: '1h' }), [
      "  - 'sales-dedupe' horizon: 86400000 ms when it was written, 3600000 ms now",
      UNDO,
    ])
    const once = (horizon: '1h' | '2h', version?: number): Edit => ({
      build: (sales) => {
        const options = { id: ['shop'], horizon, ...(version === undefined ? {} : { version }) } as const
        sales.dedupe('once', options).to(topic('once-only'))
      },
    })
    assert.deepEqual(refusal(once('1h'), once('2h')), [
      "  - 'once' horizon: 3600000 ms when it was written, 7200000 ms now",
      OR,
      anew('once'),
    ])
    assert.deepEqual(compare(once('1h'), once('2h', 2)).notes, [
      "'once' begins anew as version 2: what version 1 kept is let go",
    ])
  })

  it('is another field in what is on its way, named with its type', () => {
    const message = refusal({}, { fields: { ...FIELDS, note: optional(string()) } })
    assert.deepEqual(message, [
      "  - 'sales' schema: field 'note' (optional string) is new",
      "  - 'hours-by-key' schema: field 'note' (optional string) is new",
      OR,
      anew('hours'),
    ])
    const { amount: _, ...less } = FIELDS
    assert.equal(refusal({}, { fields: less })[0], "  - 'sales' schema: field 'amount' (double) is gone")
    assert.equal(
      refusal({}, { fields: { ...FIELDS, amount: long() } })[0],
      "  - 'sales' schema: field 'amount' was double and is long",
    )
    const { happened, ...before } = FIELDS
    assert.equal(
      refusal({}, { fields: { happened, ...before } })[0],
      "  - 'sales' schema: its fields are in another order",
    )
    const item = (type: ReturnType<typeof long> | ReturnType<typeof double>): Edit => ({
      build: (sales) =>
        void sales.map(({ amount: n }) => ({ n }), { as: schema('Item', { n: type }) }).repartition('items'),
    })
    assert.deepEqual(refusal(item(long()), item(double())), [
      "  - 'items' schema: field 'n' was long and is double",
      OR,
      "  - rename 'items', and name the old one in retired: what is on its way in it is let go",
    ])
  })

  it('is another number of partitions', () => {
    assert.throws(
      () => checkCompatible(described({}, 2), described({}, 4)),
      ({ message }: Error) =>
        message.includes('partitions: 2 when it was written, 4 now') && message.endsWith(UNDO),
    )
  })

  it('is a source, an aggregate, a dedupe or a repartition that is not there any more', () => {
    const gone = (name: string): string =>
      `  - retired: ['${name}'] in the pipeline says that it is gone for good: what it kept is let go`
    const nothing: Edit = { build: (sales) => sales.to(topic('copy')) }
    assert.deepEqual(refusal({}, nothing), [
      "  - repartition 'hours-by-key' is gone",
      "  - window 'hours' is gone",
      OR,
      gone('hours'),
    ])
    assert.deepEqual(compare({}, { ...nothing, retired: ['hours'] }), {
      notes: [
        "'hours' is retired: what it kept is let go",
        "output 'copy' is new: it gets what comes from now on",
        "output 'd.hours' is gone: what it holds stays",
        "output 'hours-late' is gone: what it holds stays",
      ],
      retired: { hours: 1 },
    })
    assert.deepEqual(refusal({ more: true }, {}), [
      "  - source 'returns' is gone",
      "  - dedupe 'returns-dedupe' is gone",
      OR,
      gone('returns'),
    ])
    assert.deepEqual(compare({ more: true }, { retired: ['returns'] }).notes, [
      "'returns' is retired: what it kept is let go",
    ])
  })

  it('is a version that goes back, and what was retired coming back as it was', () => {
    assert.deepEqual(refusal(aggregated({ n: count() }, 3), aggregated({ n: count() }, 2)), [
      "  - 'hours' version: 3 when it was written, 2 now",
      OR,
      anew('hours', 4),
    ])
    const since = { ...described({ build: () => undefined }), retired: { hours: 2 } }
    assert.throws(
      () => checkCompatible(since, described({})),
      /'hours' was retired at version 2, and is there again as version 1[^]*give 'hours' another name, or a version above 2/,
    )
    assert.deepEqual(
      checkCompatible(since, described(aggregated({ n: count() }, 3))).notes[0],
      "'hours' is there again as version 3: it starts with nothing",
    )
  })
})

describe('an edit that the state fits', () => {
  it('is something new, and says so', () => {
    const more: Edit = {
      more: true,
      build: (sales, returns) => {
        hourly(sales)
        sales.merge('both', returns).window(tumbling('1d')).aggregate('days', { n: count() })
      },
    }
    assert.deepEqual(compare({}, more).notes, [
      "'returns' is new: it starts with nothing",
      "'both' is new: it starts with nothing",
      "'days' is new: it starts with nothing",
      "output 'days-late' is new: it gets what comes from now on",
    ])
    assert.deepEqual(compare({}, {}).notes, [])
  })

  it('is an output by another name, and any function', () => {
    const other: Edit = {
      build: (sales) => {
        sales
          .filter(({ amount: n }) => n > 3)
          .peek(() => undefined)
          .groupBy('shop')
          .window(tumbling('1h'))
          .aggregate('hours', { n: count() })
          .to(table('d.renamed'))
      },
    }
    assert.deepEqual(compare({}, other).notes, [
      "output 'd.renamed' is new: it gets what comes from now on",
      "output 'd.hours' is gone: what it holds stays",
    ])
    const hash = (edit: Edit): string => topologyHash(planPipeline(edited(edit), { partitions: 2 }))
    assert.equal(hash({}), hash(other))
    assert.notEqual(hash({}), hash(aggregated({ n: count() }, 2)))
  })

  it('is whatever else changes with a raised version, of the aggregate or of the whole pipeline', () => {
    const begins = (version: number): string =>
      `'hours' begins anew as version ${version}: what version 1 kept is let go`
    assert.deepEqual(compare({}, aggregated({ n: count(), m: count() }, 2)).notes, [begins(2)])
    assert.deepEqual(compare({}, { ...windowed('5m'), version: 3 }).notes, [begins(3)])
    // One of its own counts.
    assert.deepEqual(compare({}, { ...aggregated({ n: count() }, 1), version: 3 }).notes, [])
  })

  it('names no version that is none, and retires nothing that is there', () => {
    for (const version of [0, 1.5, -1, NaN]) {
      assert.throws(() => edited({ version }), { code: 'BAD_OPTION', message: /version has to be 1, 2, 3/ })
      assert.throws(() => edited(aggregated({ n: count() }, version)), { code: 'BAD_OPTION' })
    }
    assert.throws(() => edited({ retired: ['hours'] }), {
      code: 'BAD_OPTION',
      message: /'hours' is among the retired, and the pipeline still has it/,
    })
  })
})

describe('a pipeline that goes on edited', () => {
  const START = Date.UTC(2026, 0, 1)
  let number = 0
  const sale = (ms: number, more: Partial<Sale> = {}): Sale => ({
    id: `s-${++number}`,
    shop: 'north',
    amount: 2,
    happened: START + ms,
    ...more,
  })
  let driver: PipelineDriver
  afterEach(() => driver.close())

  const totals = (of: (s: Sale) => number, version: number): Edit => ({
    build: (sales) => {
      const columns = { n: count(), total: sum(of) }
      sales
        .groupBy('shop')
        .window(tumbling('1h'))
        .aggregate('hours', columns, { version })
        .to(table('d.hours'))
      sales.window(tumbling('1h')).aggregate('all-hours', columns, { version }).to(table('d.all'))
      sales.groupBy('id').window(tumbling('1h')).aggregate('near', columns, { version }).to(table('d.near'))
    },
  })

  it('begins a raised version with nothing, and goes on in all else', async () => {
    driver = await PipelineDriver.open(edited(totals(amount, 1)), {
      startMs: START + 86_400_000,
      partitions: 2,
    })
    await driver.send('sales', [sale(0), sale(1)])
    await driver.settle()
    driver = await PipelineDriver.open(edited(totals((s) => -s.amount, 2)), { after: driver })
    assert.deepEqual(driver.notes, [
      "The topology has changed, and its state fits: 'hours' begins anew as version 2: what version 1 kept is let go; " +
        "'all-hours' begins anew as version 2: what version 1 kept is let go; " +
        "'near' begins anew as version 2: what version 1 kept is let go.",
    ])
    const copy = sale(2, { id: 's-1' })
    await driver.send('sales', [sale(3), copy])
    // Again, so that what has gone is gone from what is restored, too.
    driver.kill()
    driver.state.flush()
    await driver.end()
    await driver.settle()
    for (const name of ['d.hours', 'd.all', 'd.near']) {
      const rows = (await driver.rows(name)).map(({ n, total }) => [n, total])
      assert.deepEqual(rows, [[1, -2]], `${name}: of version 2 alone, and the copy is known`)
    }
    assert.deepEqual(await driver.deadLetters(), [])
  })

  it('lets go of what was retired, and keeps the rest', async () => {
    driver = await PipelineDriver.open(edited(totals(amount, 1)), {
      startMs: START + 86_400_000,
      partitions: 2,
    })
    await driver.send('sales', [sale(0), sale(1)])
    await driver.settle()
    await assert.rejects(PipelineDriver.open(edited(), { after: driver }), { code: 'INCOMPATIBLE_TOPOLOGY' })
    driver = await PipelineDriver.open(
      edited({
        retired: ['near', 'all-hours'],
        build: (sales) => {
          const columns = { n: count(), total: sum(amount) }
          sales.groupBy('shop').window(tumbling('1h')).aggregate('hours', columns).to(table('d.hours'))
        },
      }),
      { after: driver },
    )
    await driver.send('sales', [sale(3)])
    await driver.end()
    await driver.settle()
    const rows = (await driver.rows('d.hours')).map(({ n, total }) => [n, total])
    assert.deepEqual(rows, [[3, 6]])
  })
})
