import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { millrace, type Said } from './support.ts'

const SHIPPED = join(import.meta.dirname, '..', '..', 'pipelines', 'orders', 'index.ts')
const ORDERS = [
  '{"order_id":"a","customer_id":"x","amount":10,"timestamp":"2026-01-01T00:00:00Z"}',
  '{"order_id":"b","customer_id":"x","amount":"abc","timestamp":"2026-01-01T00:02:00Z"}',
  '{"order_id":"c","customer_id":"x","amount":1,"timestamp":"2026-01-01T00:11:00Z"}',
]

/** One process at a time has an embedded directory: the roles run one after the other. */
describe('millrace bridge, process and sink', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-roles-'))
    writeFileSync(join(cwd, 'orders.ndjson'), ORDERS.map((line) => `${line}\n`).join(''))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const role = (name: string, ...args: string[]): Promise<Said> =>
    millrace([name, 'orders', '--data-dir', join(cwd, 'data'), '--exit-when-done', ...args], { cwd })
  const bridge = (): Promise<Said> => role('bridge', '--input', join(cwd, 'orders.ndjson'))

  it('make the tables of a run together, and each says what it is bound to', async () => {
    const filled = await bridge()
    assert.equal(filled.exitCode, 0, filled.stderr)
    const [first, last] = filled.stdout.split('\n')
    assert.match(
      first!,
      /^orders: log .*data\/log \(embedded, 4 partitions\); source orders from .*orders\.ndjson/,
    )
    assert.doesNotMatch(first!, /state|sinks/)
    assert.match(last!, /^Done after .*: 3 records read, 1 of them invalid\.$/)

    const processed = await role('process')
    assert.equal(processed.exitCode, 0, processed.stderr)
    assert.match(
      processed.stdout,
      /^orders: log [^;]*; state .*data\/state \(embedded\)\nDone after [^:]*\.\n$/,
    )

    const written = await role('sink')
    assert.equal(written.exitCode, 0, written.stderr)
    assert.match(written.stdout, /^orders: log [^;]*; sinks ecommerce_orders\.orders, .*warehouse\.duckdb/)
    assert.match(written.stdout, /^ecommerce_orders\.orders +2$/m)
    assert.match(written.stdout, /^ecommerce_orders\.hourly_metrics +3$/m)
    assert.match(written.stdout, /^dead_letters +1$/m)
  })

  for (const [what, lines] of [
    ['not one valid record', '{"order_id":"a"}\n'],
    ['no line at all', ''],
  ] as const) {
    it(`end, though the input holds ${what}`, async () => {
      writeFileSync(join(cwd, 'orders.ndjson'), lines)
      assert.equal((await bridge()).exitCode, 0)
      assert.equal((await role('process')).exitCode, 0)
      const written = await role('sink')
      assert.equal(written.exitCode, 0, written.stderr)
      assert.match(written.stdout, /^ecommerce_orders\.orders +0$/m)
    })
  }

  it('are one process each without Kafka, and a number of them is a number', async () => {
    const alone = await role('process', '--processes', '2')
    assert.equal(alone.exitCode, 2)
    assert.match(alone.stderr, /^error NOT_SUPPORTED: --processes 2: embedded, one process at a time has the/)
    const none = await role('process', '--processes', '0')
    assert.equal(none.exitCode, 2)
    assert.match(
      none.stderr,
      /^error BAD_SETTING: --processes is "0": it must be a whole number from 1 to 64\./,
    )
  })

  it('go on where they were, and add nothing to what is done', async () => {
    for (const name of ['bridge', 'process', 'sink'] as const)
      await (name === 'bridge' ? bridge() : role(name))
    assert.match((await bridge()).stdout, /: 0 records read/)
    assert.equal((await role('process')).exitCode, 0)
    assert.match((await role('sink')).stdout, /^ecommerce_orders\.orders +0$/m)
  })

  it('take a pipeline of your own, by its path', async () => {
    const own = join(cwd, 'own.ts')
    writeFileSync(own, `export { default } from ${JSON.stringify(SHIPPED)}`)
    await bridge()
    const { exitCode, stderr } = await millrace(
      ['process', './own.ts', '--data-dir', join(cwd, 'data'), '--exit-when-done'],
      { cwd },
    )
    assert.equal(exitCode, 0, stderr)
  })

  it('refuse what they have no use for', async () => {
    for (const [name, option] of [
      ['process', '--input'],
      ['sink', '--rate'],
      ['bridge', '--commit-interval'],
    ] as const) {
      const { exitCode, stderr } = await millrace([name, 'orders', option, '1'], { cwd })
      assert.equal(exitCode, 2)
      assert.match(stderr, new RegExp(`^error BAD_USAGE: unknown option '${option}'`))
    }
  })
})
