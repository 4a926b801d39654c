import assert from 'node:assert/strict'
import fc from 'fast-check'
import { chartOf, type Chart } from '../../../cli/chart/choose.ts'
import { drawChart } from '../../../cli/chart/terminal.ts'
import type { QueryResult } from '../../../cli/wire/tables.ts'

function result(columns: Record<string, string>, ...rows: unknown[][]): QueryResult {
  return {
    columns: Object.entries(columns).map(([name, type]) => ({ name, type })),
    rows: rows as QueryResult['rows'],
    truncated: false,
  }
}

const widest = (text: string): number => Math.max(...text.split('\n').map((line) => Array.from(line).length))

describe('a chart', () => {
  it('of a time and numbers is a series for each number, sorted, with nulls as gaps', () => {
    const chart = chartOf(
      result(
        { at: 'TIMESTAMP', orders: 'BIGINT', until: 'DATE', revenue: 'DECIMAL(18,2)' },
        ['2026-11-21 14:05:00', 2, '2026-11-22', '2.50'],
        ['2026-11-21 14:00:00', 1, '2026-11-22', null],
      ),
    )
    const [first, second] = [Date.UTC(2026, 10, 21, 14), Date.UTC(2026, 10, 21, 14, 5)]
    assert.deepEqual(chart, {
      kind: 'series',
      by: 'at',
      panels: [
        {
          title: 'orders',
          points: [
            [first, 1],
            [second, 2],
          ],
        },
        { title: 'revenue', points: [[second, 2.5]] },
      ],
    })
  })

  it('of a time, a text and a number is a series for each text', () => {
    const columns = { day: 'DATE', kind: 'VARCHAR', n: 'INTEGER' }
    const { panels } = chartOf(result(columns, ['2026-11-21', 'SPIKE', 1], ['2026-11-21', 'DROP', 2]))
    assert.deepEqual(
      panels.map(({ title }) => title),
      ['n, SPIKE', 'n, DROP'],
    )
  })

  it('of texts and numbers is bars for each number', () => {
    const columns = { country: 'VARCHAR', status: 'VARCHAR', n: 'UBIGINT' }
    assert.deepEqual(chartOf(result(columns, ['IE', 'pending', 3], [null, 'x', 4])), {
      kind: 'bars',
      by: 'country / status',
      panels: [
        {
          title: 'n',
          bars: [
            { label: 'IE / pending', value: 3 },
            { label: 'null / x', value: 4 },
          ],
        },
      ],
    })
  })

  for (const [what, of, says] of [
    [
      'numbers alone',
      result({ a: 'BIGINT', b: 'DOUBLE' }, [1, 2]),
      /the result has a \(BIGINT\), b \(DOUBLE\)/,
    ],
    ['texts alone', result({ a: 'VARCHAR' }, ['x']), /needs a time and a number/],
    ['no rows', result({ a: 'VARCHAR', n: 'BIGINT' }), /no rows/],
    [
      'too many texts',
      result(
        { a: 'DATE', k: 'VARCHAR', n: 'BIGINT' },
        ...Array.from({ length: 7 }, (_, i) => ['2026-11-21', `${i}`, 1]),
      ),
      /would take 7 charts.*6 are drawn/,
    ],
  ] as [string, QueryResult, RegExp][]) {
    it(`cannot be made of ${what}, which is said with a way out`, () => {
      assert.throws(() => chartOf(of), { code: 'NO_CHART', message: says })
    })
  }

  it('has bars as long as their values are, hatched below zero', () => {
    const bars = ['ten', 'five', 'minus', 'nil'].map((label, i) => ({ label, value: [10, 5, -10, 0][i]! }))
    const text = drawChart(
      { kind: 'bars', by: 'what', panels: [{ title: 'n', bars }] },
      { width: 32, color: false },
    )
    assert.equal(
      text,
      [
        'n by what',
        `ten     10  ${'█'.repeat(20)}`,
        `five     5  ${'█'.repeat(10)}`,
        `minus  -10  ${'░'.repeat(20)}`,
        'nil      0',
      ].join('\n'),
    )
  })

  it('has colours only where they are wanted', () => {
    const chart: Chart = {
      kind: 'series',
      by: 'at',
      panels: [
        {
          title: 'n',
          points: [
            [0, 1],
            [60_000, 2],
          ],
        },
      ],
    }
    assert.ok(!drawChart(chart, { width: 80, color: false }).includes('\u001b'))
    assert.ok(drawChart(chart, { width: 80, color: true }).includes('\u001b[36m'))
  })

  it('fits whatever it shows into 80 and 120 columns, on lines that it fills', () => {
    const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constant(0))
    const points = fc.array(fc.tuple(fc.integer({ min: 0, max: 4e12 }), number), {
      minLength: 1,
      maxLength: 50,
    })
    const bars = fc.array(fc.record({ label: fc.string({ unit: 'grapheme' }), value: number }), {
      minLength: 1,
    })
    const chart = fc.oneof(
      points.map((all): Chart => {
        const sorted = [...all].sort(([a], [b]) => a - b)
        return { kind: 'series', by: 'at', panels: [{ title: 'n', points: sorted }] }
      }),
      bars.map((all): Chart => ({ kind: 'bars', by: 'what', panels: [{ title: 'n', bars: all }] })),
    )
    fc.assert(
      fc.property(chart, fc.constantFrom(80, 120), (drawing, width) => {
        const text = drawChart(drawing, { width, color: false })
        assert.ok(widest(text) <= width, `${widest(text)} columns:\n${text}`)
        if (drawing.kind === 'series') assert.ok(widest(text) >= width - 4, text)
      }),
    )
  })
})
