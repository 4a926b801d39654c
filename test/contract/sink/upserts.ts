import assert from 'node:assert/strict'
import fc from 'fast-check'
import { extend, long, optional, schema, string, timestamp, type RowOf } from '../../../schemas/schema.ts'
import { SinkBench, tableOf } from '../../sinks/support.ts'
import { Interposed, type DestinationUnderTest } from './support.ts'

const total = schema('Total', {
  shop: optional(string()),
  window_start: timestamp(),
  count: long(),
  note: optional(string()),
})
type Total = RowOf<typeof total>
const totals = tableOf(total, { name: 'data.totals', key: ['shop', 'window_start'] })

export function upsertTests(current: () => { destination: DestinationUnderTest; bench: SinkBench }): void {
  const found = async (): Promise<Record<string, unknown>[]> =>
    sorted(await current().destination.rows(totals))

  it('holds the last row of each key, however rows come in batches and spans', async function () {
    this.timeout(120_000)
    const key = fc.record({
      shop: fc.constantFrom(null, '', 'a', 'ä', 'long enough to stand beside'),
      at: fc.nat(3),
    })
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(key, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom(1, 3, 1_000),
        async (batches, maxRows) => {
          const { destination } = current()
          const bench = await SinkBench.create()
          const table = { ...totals, name: `data.totals_${++run}` }
          const runner = bench.start(destination.sink(table), { maxRows })
          const expected = new Map<string, Total>()
          for (const [i, batch] of batches.entries()) {
            const rows = batch.map(({ shop, at }, j): Total => {
              return {
                shop,
                window_start: at * 60_000,
                count: i * 100 + j,
                note: i % 2 === 0 ? null : 'x',
              }
            })
            for (const row of rows) expected.set(identityOf(row), row)
            await bench.produce(total, rows)
          }
          await bench.drained(runner)
          await bench.close()
          assert.deepEqual(sorted(await destination.rows(table)), sorted([...expected.values()]))
        },
      ),
      { numRuns: 12 },
    )
  })

  it('holds the last rows after a death between the write and the commit of its offset', async () => {
    const { destination, bench } = current()
    await bench.produce(total, updates(30))
    const dying = new Interposed(destination.sink(totals))
    let writes = 0
    dying.after = () => (++writes === 2 ? Promise.reject(new Error('killed here')) : Promise.resolve())
    await bench.failureOf(bench.start(dying, { maxRows: 10 }))
    const written = await found()
    assert.deepEqual(written, sorted(updates(20).slice(17)), 'nothing in between is half there')
    await bench.drained(bench.start(destination.sink(totals), { maxRows: 10 }))
    assert.deepEqual(await found(), sorted(updates(30).slice(27)))
  })

  it('does not go back to older rows when a slow owner writes them again', async () => {
    const { destination, bench } = current()
    await bench.produce(total, updates(30))
    const sink = new Interposed(destination.sink(totals))
    await bench.drained(bench.start(sink, { maxRows: 10 }))
    for (const batch of [...sink.batches]) await assert.rejects(sink.write(batch), { code: 'STALE_POSITION' })
    assert.deepEqual(await found(), sorted(updates(30).slice(27)))
  })

  it('makes a dead letter of a row without its key column, and keeps the others', async () => {
    const { destination, bench } = current()
    const loose = schema('Total', {
      shop: optional(string()),
      window_start: optional(timestamp()),
      count: long(),
    })
    await bench.produce(loose, [
      { shop: 'a', window_start: 0, count: 1 },
      { shop: 'a', count: 2 },
      { shop: 'a', window_start: 0, count: 3 },
    ])
    const runner = bench.start(destination.sink(totals))
    await bench.drained(runner)
    assert.equal(runner.rowsRefused, 1)
    assert.deepEqual(await found(), [{ shop: 'a', window_start: 0, count: 3, note: null }])
  })

  it('keeps what somebody else has added in columns of their own', async () => {
    const { destination, bench } = current()
    const wide = extend(total, { extra: optional(string()) })
    const wider = { ...totals, schema: wide as never }
    await bench.produce(wide, [{ shop: 'a', window_start: 0, count: 1, extra: 'theirs' }])
    const first = bench.start(destination.sink(wider))
    await bench.drained(first)
    await bench.stop(first)
    await bench.produce(total, [{ shop: 'a', window_start: 0, count: 2 }])
    await bench.drained(bench.start(destination.sink(totals)))
    assert.deepEqual(await found(), [{ shop: 'a', window_start: 0, count: 2, note: null, extra: 'theirs' }])
  })
}

/** Three windows of one shop, updated in turn. */
function updates(count: number): Total[] {
  return Array.from({ length: count }, (_, i) => {
    return { shop: 'a', window_start: (i % 3) * 60_000, count: i, note: null }
  })
}

function identityOf({ shop, window_start }: Total): string {
  return JSON.stringify([shop, window_start])
}

function sorted<R extends object>(rows: readonly R[]): R[] {
  return [...rows].sort((a, b) => identityOf(a as Total).localeCompare(identityOf(b as Total)))
}
