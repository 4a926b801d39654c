import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { monthsOrSkip } from './shared-data.ts'
import { digestsIn, ordersRun, rowsOf, runOrders, Scratch, start, type Said } from './support.ts'

const FORMAT = ['--format', 'online-retail']

describe('millrace run orders, on four months of an online shop', () => {
  const scratch = new Scratch()
  let months: string[]
  /** What all four months at once give, with the default number of partitions. */
  let directory: string
  let first: Said
  let expected: Record<string, string>

  before(async function () {
    months = monthsOrSkip(this)
    directory = scratch.newDirectory()
    first = await runOrders(directory, months, ...FORMAT)
    expected = await digestsIn(directory)
  })
  after(() => scratch.remove())

  it('gives the figures that an independent computation gives', async () => {
    assert.match(first.stdout, /: 6,878 records read, 1,112 of them invalid\.$/m)
    assert.match(first.stdout, /^1 duplicate of 'orders' so far, dropped\.$/m)
    const count = async (from: string): Promise<number> =>
      Number((await rowsOf(directory, `select count(*) from ${from}`))[0]![0])
    assert.equal(await count('ecommerce_orders.orders'), 5_765)
    assert.equal(await count('dead_letters'), 1_112)
    assert.equal(
      await count("dead_letters where reason = 'missing customer_id' and field = 'customer_id'"),
      1_112,
    )
    assert.equal(await count('ecommerce_orders.hourly_metrics'), 34_699)
    assert.equal(await count("ecommerce_orders.order_alerts where alert_type = 'DROP'"), 34_678)
    assert.equal(await count('ecommerce_orders.order_alerts'), 34_678, 'no SPIKE')
    assert.equal(await count('ecommerce_orders.metrics_late'), 0)
    const [sums] = await rowsOf(
      directory,
      'select sum(total_revenue), sum(order_count)::integer from ecommerce_orders.hourly_metrics',
    )
    const [revenue, orders] = sums as [number, number]
    assert.ok(Math.abs(revenue - 2_045_390.17) <= 0.01, String(revenue))
    assert.equal(orders, 5_765)
  })

  it('keeps the first part of the one invoice that comes twice', async () => {
    const rows = await rowsOf(
      directory,
      "select order_id, status from ecommerce_orders.orders where order_id = '542806'",
    )
    assert.deepEqual(rows, [['542806', 'delivered']])
  })

  for (const partitions of ['1', '8']) {
    it(`gives the same tables with ${partitions} ${partitions === '1' ? 'partition' : 'partitions'} as with 4`, async () => {
      const other = scratch.newDirectory()
      const { stdout } = await runOrders(other, months, ...FORMAT, '--partitions', partitions)
      assert.ok(stdout.includes(`(embedded, ${partitions} partitions)`), stdout)
      assert.deepEqual(await digestsIn(other), expected)
    })
  }

  it('adds nothing when it is run again', async () => {
    const { stdout } = await runOrders(directory, months, ...FORMAT)
    assert.match(stdout, /: 0 records read, 0 of them invalid\.$/m)
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('gives the same tables when two months come first and then all four', async () => {
    const other = scratch.newDirectory()
    await runOrders(other, months.slice(0, 2), ...FORMAT)
    assert.notDeepEqual(await digestsIn(other), expected)
    await runOrders(other, months, ...FORMAT)
    assert.deepEqual(await digestsIn(other), expected)
  })

  it('refuses another number of partitions than the directory has, and leaves it as it was', async () => {
    const { exitCode, stderr } = await start(ordersRun(directory, months, ...FORMAT, '--partitions', '5'))
      .said
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error INCOMPATIBLE_TOPOLOGY: [^]*partitions: 4 when it was written, 5 now/)
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('refuses a second process with the pid of the first, which ends at Ctrl+C and goes on another time', async () => {
    const other = scratch.newDirectory()
    const args = ordersRun(other, months, ...FORMAT)
    // Without --exit-when-done it waits for its file to grow.
    const live = ordersRun(other, months.slice(0, 1), ...FORMAT).filter((arg) => arg !== '--exit-when-done')
    const holder = start(live)
    try {
      assert.ok(await holder.bound)
      const { exitCode, stderr } = await start(args).said
      assert.equal(exitCode, 1)
      assert.match(stderr, new RegExp(`^error DATA_DIR_IN_USE: .* in use by process ${holder.pid}\\b`))
      await holder.kill('SIGINT')
      const { exitCode: ended, stderr: farewell } = await holder.said
      assert.equal(ended, 0, farewell)
    } finally {
      await holder.kill('SIGKILL')
    }
    await runOrders(other, months, ...FORMAT)
    assert.deepEqual(await digestsIn(other), expected)
  })

  it('knows a file again by its content when it has another name', async () => {
    const other = scratch.newDirectory()
    const [path, renamed] = [join(scratch.path, 'december.csv.gz'), join(scratch.path, 'renamed.csv.gz')]
    copyFileSync(months[0]!, path)
    await runOrders(other, [path], ...FORMAT)
    const tables = await digestsIn(other)
    renameSync(path, renamed)
    const { stdout } = await runOrders(other, [renamed], ...FORMAT)
    assert.match(
      stdout,
      /renamed\.csv\.gz has the same content as .*december\.csv\.gz, which was read: skipped/,
    )
    assert.match(stdout, /: 0 records read/)
    assert.deepEqual(await digestsIn(other), tables)
  })

  it('refuses a file whose content was changed, be it by one byte, and writes nothing of it', async () => {
    const other = scratch.newDirectory()
    const path = join(scratch.path, 'january.csv')
    const content = gunzipSync(readFileSync(months[1]!))
    writeFileSync(path, content)
    await runOrders(other, [path], ...FORMAT)
    const tables = await digestsIn(other)
    const at = content.length - 100_000
    content[at] = content[at]! ^ 1
    writeFileSync(path, content)
    const { exitCode, stderr } = await start(ordersRun(other, [path, months[2]!], ...FORMAT)).said
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error FILE_CHANGED: .*january\.csv was read up to byte \d+.*changed since/)
    assert.deepEqual(await digestsIn(other), tables)
  })
})
