import assert from 'node:assert/strict'
import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import type { RunFigures } from '../../../cli/live/figures.ts'
import { coloursFor } from '../../../cli/live/colours.ts'
import { frameOf } from '../../../cli/live/frame.ts'
import { ProgressMeter } from '../../../cli/live/progress.ts'
import { testScale } from '../../../config/test-scale.ts'
import type { Role } from '../../../cli/wire/run.ts'
import { figures } from './figures.ts'

const ALL: readonly Role[] = ['bridge', 'process', 'sink']

function frame(
  columns: number,
  { rows = 40, roles = ALL, colours = false, state = figures() } = {},
): string[] {
  const meter = new ProgressMeter(roles, true, 0)
  meter.look(
    {
      ...state,
      sources: state.sources.map((source) => ({
        ...source,
        input: source.input && { ...source.input, done: 0 },
      })),
    },
    0,
  )
  const progress = meter.look(state, 10_000)
  const title = `orders · ${roles.length === 1 ? roles[0]! : 'run'}`
  return frameOf(progress, { title, columns, rows, colours: coloursFor(colours) })
}

describe('the live view', () => {
  it('shows what comes in, what is done with it and what is left, in 80 columns', () => {
    assert.equal(
      `\n${frame(80).join('\n')}\n`,
      `
orders · run · 10 s                               watermark 2026-11-21 14:06:07
  read            52,340            0/s  invalid       512  waiting     1,204
  processed       51,136            0/s  late            3  windows        51
  tasks                5                 copies        118  refused         0
  written         51,512            0/s
  ━━━━━━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  50 %  1.0 GiB of 2.0 GiB  about 10 s left
  source                                 read/s    waiting            watermark
  orders                                      0      1,204  2026-11-21 14:06:07
  table                                              rows     rows/s    waiting
  ecommerce_orders.orders                          51,000          0        123
  dead_letters                                        512          0          0
`,
    )
  })

  it('has more columns where there is room', () => {
    const lines = frame(120)
    assert.match(
      lines.find((line) => line.includes('source'))!,
      /source +read +read\/s +invalid +waiting +watermark$/,
    )
    assert.ok(lines.every((line) => line.length < 120))
  })

  it('shows of a single role what that role does', () => {
    const bridge = frame(80, { roles: ['bridge'], state: figures({ tasks: null, tables: [] }) }).join('\n')
    assert.match(bridge, /orders · bridge/)
    assert.match(bridge, / read +52,340 /)
    assert.doesNotMatch(bridge, /processed|written|table/)
    const sink = frame(80, { roles: ['sink'], state: figures({ tasks: null }) }).join('\n')
    assert.match(sink, / written +51,512 .* waiting +1,204/)
    assert.doesNotMatch(sink, /processed|read\/s/)
  })

  it('never is wider or higher than the terminal, whatever the names, the figures and the window', () => {
    const size = fc.nat({ max: 10 ** 15 })
    const name = fc.string({ minLength: 1, maxLength: 90, unit: fc.constantFrom('a', '.', '_', '9') })
    const state = fc.record({
      sources: fc.array(fc.record({ name, lag: size }), { maxLength: 8 }),
      tables: fc.array(fc.record({ name, written: size, lag: size }), { maxLength: 30 }),
      read: size,
      hasTasks: fc.boolean(),
      colours: fc.boolean(),
    })
    const window = fc.record({
      columns: fc.integer({ min: 21, max: 250 }),
      rows: fc.integer({ min: 2, max: 80 }),
    })
    fc.assert(
      fc.property(state, window, ({ sources, tables, read, hasTasks, colours }, { columns, rows }) => {
        const base = figures()
        const found: RunFigures = {
          ...base,
          read,
          tasks: hasTasks ? base.tasks : null,
          tables,
          sources: sources.map((source) => ({ ...base.sources[0]!, ...source })),
        }
        const lines = frame(columns, { rows, colours, state: found })
        assert.ok(lines.length < rows, `${lines.length} lines in ${rows} rows`)
        for (const line of lines) {
          const { length } = stripVTControlCharacters(line)
          assert.ok(length < columns, `${length} characters in ${columns} columns: ${line}`)
        }
      }),
      { numRuns: testScale.propertyRuns },
    )
  })
})
