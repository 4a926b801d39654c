import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { ByteWriter } from '../../../log/batch.ts'
import type { Place } from '../../../processor/windows/aggregates.ts'
import { Cells } from '../../../processor/windows/cells.ts'
import { first, last } from '../../../processor/windows/first-last.ts'
import { reduce, reduceRows } from '../../../processor/windows/reduce.ts'
import { RowAggregate } from '../../../processor/windows/row-aggregate.ts'
import { boolean, bytes, double, int, long, schema, string, timestamp } from '../../../schemas/schema.ts'

interface Value {
  readonly text: string | null
  readonly amount: number
  readonly place: Place
}

type Columns = ConstructorParameters<typeof RowAggregate>[0]

const text = ({ text: its }: Value): string | null => its
const amount = (value: Value): number => value.amount
const longer = (a: string, b: string): string => (b.length > a.length ? b : a)
const atLeastAsLong = (a: string, b: string): string => (b.length >= a.length ? b : a)
const pair = schema('Pair', { text: string(), amount: long() })

const row = new RowAggregate({
  firstText: first(text, string()),
  lastText: last(text, string()),
  lastBytes: last((v: Value) => (v.text === null ? null : Buffer.from(v.text)), bytes()),
  firstNumber: first(amount, double()),
  lastNumber: last(amount, int()),
  lastMoment: last((v: Value) => v.place.eventTimeMs, timestamp()),
  lastFlag: last((v: Value) => v.amount > 0, boolean()),
  longestFirst: reduce(text, longer, string()),
  longestLast: reduce(text, atLeastAsLong, string()),
  product: reduce(amount, (a, b) => a * b, long()),
  least: reduce(amount, Math.min, long()),
  firstByHand: reduce(amount, (a) => a, long()),
  lastByHand: reduce(text, (_, b) => b, string()),
  rows: reduceRows(
    (v: Value) => ({ text: v.text ?? '', amount: v.amount }),
    (a, b) => (b.text.length > a.text.length ? b : a),
    pair,
  ),
} as Columns)

const value = fc.record({
  text: fc.option(fc.constantFrom('', 'a', 'b', 'aa', 'bb', 'é', '日本')),
  amount: fc.integer({ min: -2, max: 3 }),
  place: fc.record({
    eventTimeMs: fc.nat(3),
    origin: fc.nat(2),
    offset: fc.nat(2),
    ordinal: fc.nat(1),
  }),
})

/** No two of a record's place. */
const values = fc.uniqueArray(value, {
  maxLength: 12,
  selector: ({ place }) => Object.values(place).join(),
})

const inOrder = (of: readonly Value[]): Value[] =>
  [...of].sort(
    ({ place: a }, { place: b }) =>
      a.eventTimeMs - b.eventTimeMs || a.origin - b.origin || a.offset - b.offset || a.ordinal - b.ordinal,
  )

/** All at once, in the order that is promised. */
function expected(of: readonly Value[]): unknown[] {
  const sorted = inOrder(of)
  const texts = sorted.map(text).filter((its) => its !== null)
  const longest = (all: readonly string[]): number => Math.max(...all.map((its) => its.length))
  const end = sorted.at(-1)
  const best = sorted.find((v) => (v.text ?? '').length === longest(sorted.map(({ text: its }) => its ?? '')))
  return [
    texts[0] ?? null,
    texts.at(-1) ?? null,
    texts.length === 0 ? null : Buffer.from(texts.at(-1)!).toString('hex'),
    sorted[0]?.amount ?? null,
    end?.amount ?? null,
    end?.place.eventTimeMs ?? null,
    end === undefined ? null : end.amount > 0,
    texts.find((its) => its.length === longest(texts)) ?? null,
    texts.findLast((its) => its.length === longest(texts)) ?? null,
    sorted.length === 0 ? null : sorted.reduce((product, v) => product * v.amount, 1) + 0,
    sorted.length === 0 ? null : Math.min(...sorted.map(amount)),
    sorted[0]?.amount ?? null,
    texts.at(-1) ?? null,
    best === undefined ? null : (best.text ?? ''),
    best?.amount ?? null,
  ]
}

function resultsOf(cells: Cells, at = 0): unknown[] {
  const results: unknown[] = []
  row.results(cells, at, results, 0)
  return results.map((result) =>
    result instanceof Uint8Array ? Buffer.from(result).toString('hex') : result === 0 ? 0 : result,
  )
}

function fold(cells: Cells, of: readonly Value[], at = 0): void {
  for (const one of of) {
    row.extract(one)
    row.prepare(cells, at, one.place)
    row.add(cells, at, one.place)
  }
}

function stored(cells: Cells): Cells {
  const writer = new ByteWriter()
  row.write(writer, cells, 0)
  const read = row.newRow()
  const reader = { buffer: Buffer.from(writer.buffer.subarray(0, writer.position)), position: 0 }
  row.read(reader, read, 0)
  assert.equal(reader.position, writer.position, 'what was written is read to its end')
  return read
}

describe('first, last and reduce', () => {
  it('give the same in whatever order values come, however they are split and merged, through storage', () => {
    fc.assert(
      fc.property(
        values,
        fc.infiniteStream(fc.nat(3)),
        fc.infiniteStream(fc.boolean()),
        (all, parts, stops) => {
          const split: Value[][] = [[], [], [], []]
          for (const one of all) split[parts.next().value as number]!.push(one)
          const merged = row.newRow()
          for (const part of split) {
            let cells = row.newRow()
            for (const one of part) {
              fold(cells, [one])
              if (stops.next().value) cells = stored(cells)
            }
            row.merge(merged, 0, cells, 0)
          }
          assert.deepEqual(resultsOf(merged), expected(all))
          assert.deepEqual(resultsOf(stored(merged)), expected(all))
        },
      ),
      { numRuns: 5 * testScale.propertyRuns },
    )
  })

  it('keep the rows that are asked for, count what they take, and are clear when cleared', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(values, fc.boolean()), { maxLength: 6 }), (rows) => {
        const cells = new Cells(rows.length * row.width)
        const bare = cells.byteLength
        for (const [slot, [of]] of rows.entries()) fold(cells, of, slot * row.width)
        assert.ok(cells.byteLength >= bare)
        const kept = [...rows.keys()].filter((slot) => rows[slot]![1])
        cells.keepRows(Int32Array.from(kept), row.width)
        for (const [i, slot] of kept.entries()) {
          assert.deepEqual(resultsOf(cells, i * row.width), expected(rows[slot]![0]))
        }
        cells.clear(0, kept.length * row.width)
        assert.equal(cells.byteLength, cells.numbers.byteLength)
        for (const i of kept.keys()) assert.deepEqual(resultsOf(cells, i * row.width), expected([]))
      }),
      { numRuns: testScale.propertyRuns },
    )
  })
})
