import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { BIN, millrace, type Said } from './support.ts'

const ORDERS = [
  '{"order_id":"a","customer_id":"x","amount":10,"timestamp":"2026-01-01T00:00:00Z"}',
  '{"order_id":"b","customer_id":"x","amount":"2.5","timestamp":"2026-01-01T00:01:00Z"}',
  '{"order_id":"b","customer_id":"x","amount":"2.5","timestamp":"2026-01-01T00:01:00Z"}',
  '{"order_id":"c","customer_id":"x","amount":"abc","timestamp":"2026-01-01T00:02:00Z"}',
  '{"order_id":"d","customer_id":"x","amount":1,"timestamp":"2026-01-01T00:11:00Z"}',
]

describe('millrace run', () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-run-'))
    writeFileSync(join(cwd, 'orders.ndjson'), ORDERS.map((line) => `${line}\n`).join(''))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  const run = (...args: string[]): Promise<Said> =>
    millrace(
      [
        'run',
        'orders',
        '--input',
        join(cwd, 'orders.ndjson'),
        '--data-dir',
        join(cwd, 'data'),
        '--exit-when-done',
        ...args,
      ],
      { cwd },
    )
  const query = async (sql: string): Promise<unknown[]> => {
    const { stdout, stderr, exitCode } = await millrace(
      ['query', 'orders', '--sql', sql, '--json', '--data-dir', join(cwd, 'data')],
      { cwd },
    )
    assert.equal(exitCode, 0, stderr)
    return stdout
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line))
  }

  it('drains a file into tables, and says first what it is bound to and last what it did', async () => {
    const { exitCode, stdout, stderr } = await run()
    assert.equal(exitCode, 0, stderr)
    const [first] = stdout.split('\n')
    for (const part of [
      'data/log',
      '4 partitions',
      'data/state',
      'orders.ndjson (ndjson)',
      'ecommerce_orders.hourly_metrics',
      'dead_letters',
    ]) {
      assert.ok(first!.includes(part), `${part} in ${first!}`)
    }
    assert.match(stdout, /Done after .*: 5 records read, 1 of them invalid\./)
    assert.match(stdout, /^ecommerce_orders\.orders +3$/m)
    assert.deepEqual(await query('select order_id, amount from ecommerce_orders.orders order by all'), [
      { order_id: 'a', amount: 10 },
      { order_id: 'b', amount: 2.5 },
      { order_id: 'd', amount: 1 },
    ])
    assert.deepEqual(
      await query(
        'select window_start, order_count, total_revenue from ecommerce_orders.hourly_metrics order by all',
      ),
      [
        { window_start: '2026-01-01T00:00:00Z', order_count: 2, total_revenue: 12.5 },
        { window_start: '2026-01-01T00:05:00Z', order_count: 0, total_revenue: 0 },
        { window_start: '2026-01-01T00:10:00Z', order_count: 1, total_revenue: 1 },
      ],
    )
    assert.deepEqual(await query('select pipeline, source, "position", field from dead_letters'), [
      {
        pipeline: 'orders',
        source: join(cwd, 'orders.ndjson'),
        position: ORDERS.slice(0, 3).join('\n').length + 1,
        field: 'amount',
      },
    ])
  })

  it('adds nothing when it is run again', async () => {
    await run()
    const { exitCode, stdout } = await run()
    assert.equal(exitCode, 0)
    assert.match(stdout, /: 0 records read/)
    assert.deepEqual(await query('select count(*) n from ecommerce_orders.orders'), [{ n: 3 }])
    assert.deepEqual(await query('select count(*) n from ecommerce_orders.hourly_metrics'), [{ n: 3 }])
    assert.deepEqual(await query('select count(*) n from dead_letters'), [{ n: 1 }])
  })

  it('keeps the number of partitions of a directory, and refuses another', async () => {
    await run('--partitions', '2')
    assert.match((await run()).stdout, /2 partitions/)
    const { exitCode, stderr } = await run('--partitions', '3')
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error INCOMPATIBLE_TOPOLOGY: [^]*partitions: 2 when it was written, 3 now/)
  })

  it('refuses a directory that another run has open, and answers queries beside it', async () => {
    const data = join(cwd, 'data')
    const child = spawn(
      process.execPath,
      [BIN, 'run', 'orders', '--data-dir', data, '--rate', '100', '--since', '10m'],
      {
        cwd,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    const exited = once(child, 'exit') as Promise<[number | null]>
    let stderr = ''
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
    // The first line tells what it is bound to; the first of the progress comes after five seconds.
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    assert.equal((await lines.next()).done, false, stderr)
    const refused = await run()
    assert.equal(refused.exitCode, 1)
    assert.match(refused.stderr, new RegExp(`^error DATA_DIR_IN_USE: .* in use by process ${child.pid}\\b`))
    assert.equal((await lines.next()).done, false, stderr)
    let written = 0
    while (written === 0 && child.exitCode === null) {
      const [{ n }] = (await query('select count(*) n from ecommerce_orders.orders')) as [{ n: number }]
      written = n
    }
    assert.ok(written > 0, stderr)
    child.kill('SIGINT')
    const [exitCode] = await exited
    assert.equal(exitCode, 0, stderr)
    assert.match(stderr, /SIGINT: ending cleanly/)
    assert.ok(!existsSync(join(data, 'lock')))
  })
})
