import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { ByteWriter } from '../../../log/batch.ts'
import { avg, count, max, min, sum } from '../../../processor/windows/aggregates.ts'
import { Cells } from '../../../processor/windows/cells.ts'
import { ExactSum } from '../../../processor/windows/exact-sum.ts'
import { RowAggregate } from '../../../processor/windows/row-aggregate.ts'

interface Value {
  readonly amount: number | null
}

const amountOf = ({ amount }: Value): number | null => amount
const row = new RowAggregate({
  least: min(amountOf),
  records: count(),
  total: sum(amountOf),
  mean: avg(amountOf),
  greatest: max(amountOf),
})

const amount = fc.oneof(
  fc.constant(null),
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map((cents) => cents / 100),
  fc.double({ noNaN: true, min: -(2 ** 900), max: 2 ** 900 }),
)
const values = fc.array(
  amount.map((value): Value => ({ amount: value })),
  { maxLength: 20 },
)

/** What the columns are of all values at once. */
function expected(of: readonly Value[]): unknown[] {
  const amounts = of.map(amountOf).filter((value) => value !== null)
  const total = new ExactSum()
  for (const value of amounts) total.add(value)
  const sumOfAll = total.value()
  return [
    amounts.length === 0 ? null : Math.min(...amounts),
    of.length,
    sumOfAll,
    amounts.length === 0 ? null : sumOfAll / amounts.length,
    amounts.length === 0 ? null : Math.max(...amounts),
  ]
}

function resultsOf(cells: Cells, at: number): unknown[] {
  const results: unknown[] = []
  row.results(cells, at, results, 0)
  // Zeros are one here: which sign one of several has does not matter.
  return results.map((result) => (result === 0 ? 0 : result))
}

/** Numbers do not ask where they come from. */
const ANYWHERE = { eventTimeMs: 0, origin: 0, offset: 0, ordinal: 0 }

function fold(cells: Cells, at: number, of: readonly Value[]): void {
  for (const value of of) {
    row.extract(value)
    row.add(cells, at, ANYWHERE)
  }
}

function written(cells: Cells, at: number): Buffer {
  const writer = new ByteWriter()
  row.write(writer, cells, at)
  return Buffer.from(writer.buffer.subarray(0, writer.position))
}

describe('accumulators in cells', () => {
  it('give what a computation over all values gives, each row its own', () => {
    fc.assert(
      fc.property(fc.array(values, { minLength: 1, maxLength: 5 }), (rows) => {
        const cells = new Cells(rows.length * row.width)
        const longest = Math.max(...rows.map(({ length }) => length))
        for (let i = 0; i < longest; i++) {
          for (const [slot, of] of rows.entries()) fold(cells, slot * row.width, of.slice(i, i + 1))
        }
        for (const [slot, of] of rows.entries()) {
          assert.deepEqual(
            resultsOf(cells, slot * row.width),
            expected(of).map((result) => (result === 0 ? 0 : result)),
          )
        }
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('give the same through storage and merging, wherever they lie', () => {
    fc.assert(
      fc.property(values, values, values, fc.nat(3), (first, second, third, slot) => {
        const at = slot * row.width
        const cells = new Cells(4 * row.width)
        fold(cells, at, first)
        const read = new Cells(4 * row.width)
        row.read({ buffer: written(cells, at), position: 0 }, read, at)
        assert.deepEqual(resultsOf(read, at), resultsOf(cells, at))
        fold(read, at, second)
        const other = new Cells(row.width)
        fold(other, 0, third)
        row.merge(read, at, other, 0)
        const all = [...first, ...second, ...third]
        assert.deepEqual(
          resultsOf(read, at),
          expected(all).map((result) => (result === 0 ? 0 : result)),
        )
        read.clear(at, at + row.width)
        assert.deepEqual(resultsOf(read, at), expected([]))
        assert.equal(read.outgrown.size, 0)
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('keep the rows that are asked for, with what has outgrown its cells', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(values, fc.boolean()), { maxLength: 8 }), (rows) => {
        const cells = new Cells(rows.length * row.width)
        for (const [slot, [of]] of rows.entries()) fold(cells, slot * row.width, of)
        const kept = [...rows.keys()].filter((slot) => rows[slot]![1])
        const before = kept.map((slot) => resultsOf(cells, slot * row.width))
        cells.keepRows(Int32Array.from(kept), row.width)
        assert.deepEqual(
          kept.map((_, slot) => resultsOf(cells, slot * row.width)),
          before,
        )
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('refuses a value before any column has moved', () => {
    const cells = row.newRow()
    fold(cells, 0, [{ amount: 1 }])
    const before = resultsOf(cells, 0)
    // undefined: a misspelt field, in a file that was not compiled.
    for (const refused of [NaN, Infinity, 2 ** 960, undefined as unknown as null]) {
      assert.throws(() => row.extract({ amount: refused }), { code: 'NOT_AGGREGATABLE' })
    }
    assert.deepEqual(resultsOf(cells, 0), before)
  })
})
