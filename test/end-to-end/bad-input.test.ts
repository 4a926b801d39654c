import type { DuckDBBlobValue } from '@duckdb/node-api'
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ordersRun, rowsOf, runOrders, Scratch, start } from './support.ts'

/** What a line of a file must become. */
type Line =
  | { readonly text: string | Buffer; readonly good: string }
  | { readonly text: string | Buffer; readonly reason: RegExp; readonly field: string | null }

function good(id: string): Line {
  return { text: orderWith({ order_id: `"${id}"` }), good: id }
}

function bad(text: string | Buffer, reason: RegExp, field: string | null = null): Line {
  return { text, reason, field }
}

/** An order in which some fields have another text than a good one's; an empty text leaves the field out. */
function orderWith(fields: Record<string, string>): string {
  const all = {
    order_id: '"bad"',
    customer_id: '"c"',
    amount: '1.5',
    timestamp: '"2026-01-01T00:00:00Z"',
    ...fields,
  }
  const members = Object.entries(all).filter(([, text]) => text !== '')
  return `{${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`
}

const LINES: readonly Line[] = [
  good('first'),
  bad('{"order_id":"bad","customer_id":', /^broken JSON: /),
  bad('{"order_id":"bad"}}', /^broken JSON: /),
  bad('order', /^broken JSON: /),
  bad('[]', /^the record is not an object but a/),
  bad('null', /^the record is not an object but null/),
  bad(orderWith({ order_id: '17' }), /^order_id is not text but a number/, 'order_id'),
  bad(orderWith({ customer_id: '{}' }), /^customer_id is not text but an? object/, 'customer_id'),
  bad(orderWith({ status: 'true' }), /^status is not text but/, 'status'),
  good('second'),
  bad(orderWith({ order_id: '' }), /^missing order_id$/, 'order_id'),
  bad(orderWith({ customer_id: '""' }), /^missing customer_id$/, 'customer_id'),
  bad(orderWith({ amount: 'null' }), /^missing amount$/, 'amount'),
  bad(orderWith({ amount: '"abc"' }), /^amount is text that is no number$/, 'amount'),
  bad(orderWith({ amount: '"NaN"' }), /^amount is text that is no number$/, 'amount'),
  bad(orderWith({ amount: '[1]' }), /^amount is not a number but/, 'amount'),
  bad(orderWith({ amount: 'NaN' }), /^broken JSON: /),
  bad(orderWith({ amount: '1e999' }), /^amount is not a finite number$/, 'amount'),
  bad(orderWith({ amount: '"1e999"' }), /^amount is not a finite number$/, 'amount'),
  bad(orderWith({ amount: '1e300' }), /^amount is too large/, 'amount'),
  bad(
    orderWith({ order_id: `"${'x'.repeat(10_000_000)}"` }),
    /^record too large \(\d+ bytes, limit 1048576\)/,
  ),
  good('third'),
  bad(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), /^not valid UTF-8$/),
  bad(Buffer.from([0x00, 0x01, 0x02]), /^broken JSON: /),
  bad(orderWith({ timestamp: '"1970-01-01T00:00:00Z"' }), /^event time is older than/, 'timestamp'),
  bad(orderWith({ timestamp: '"2200-01-01T00:00:00Z"' }), /^event time is more than .* ahead$/, 'timestamp'),
  bad(orderWith({ timestamp: '"yesterday"' }), /^timestamp is not a time$/, 'timestamp'),
  good('last'),
]

const HEADER = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country'

function invoiceLine(number: string, description: string, quantity = '2'): string {
  return `${number},A,${description},${quantity},2011-01-01 08:26:00,1.5,17850.0,United Kingdom`
}

const INVOICES: readonly Line[] = [
  { text: invoiceLine('1', '"LAMP, RED"'), good: '1' },
  bad(
    invoiceLine('2', '"LAMP'),
    /^line 1 of invoice 2: column Description .*quote is not closed/,
    'Description',
  ),
  { text: invoiceLine('3', 'LAMP'), good: '3' },
  bad(
    invoiceLine('4', '6" LAMP'),
    /^line 1 of invoice 4: column Description .*a quote stands within/,
    'Description',
  ),
  bad(
    invoiceLine('5', '"6" LAMP'),
    /^line 1 of invoice 5: column Description .*behind its closing/,
    'Description',
  ),
  bad(
    invoiceLine('6', 'LAMP', 'two'),
    /^line 1 of invoice 6: column Quantity is not a number: "two"$/,
    'Quantity',
  ),
  { text: invoiceLine('7', '"6"" LAMP"'), good: '7' },
]

describe('millrace run orders, on bad input', () => {
  const scratch = new Scratch()
  after(() => scratch.remove())

  /** Compares the dead letters, in the order of the file, and the orders with what each line must become. */
  async function check(directory: string, path: string, lines: readonly Line[], from = 0): Promise<void> {
    const found = await rowsOf(
      directory,
      'select pipeline, source, "partition", "position"::integer, reason, field, payload from dead_letters order by "position"',
    )
    let position = from
    let at = 0
    for (const line of lines) {
      const bytes = Buffer.from(line.text as string)
      if ('reason' in line) {
        assert.ok(at < found.length, `no dead letter for position ${position}`)
        const [pipeline, source, partition, offset, reason, field, payload] = found[at++]!
        assert.deepEqual(
          { pipeline, source, partition, offset, field },
          { pipeline: 'orders', source: path, partition: 0, offset: position, field: line.field },
        )
        assert.match(reason as string, line.reason)
        assert.ok(bytes.equals((payload as DuckDBBlobValue).bytes), `the payload at ${position}`)
      }
      position += bytes.length + 1
    }
    assert.equal(found.length, at)
    const orders = await rowsOf(directory, 'select order_id from ecommerce_orders.orders')
    assert.deepEqual(
      orders.map(([id]) => id).sort(),
      lines.flatMap((line) => ('good' in line ? line.good : [])).sort(),
    )
  }

  function write(name: string, lines: readonly Line[], before = ''): string {
    const path = join(scratch.path, name)
    const parts = lines.flatMap(({ text }) => [Buffer.from(text as string), Buffer.from('\n')])
    writeFileSync(path, Buffer.concat([Buffer.from(before), ...parts]))
    return path
  }

  it('makes each bad line a dead letter with its address, reason, field and bytes, and takes every good one', async () => {
    const path = write('bad.ndjson', LINES)
    const empty = write('empty.ndjson', [])
    const directory = scratch.newDirectory()
    const { stdout } = await runOrders(directory, [empty, path])
    const invalid = LINES.filter((line) => 'reason' in line).length
    assert.match(stdout, new RegExp(`: ${LINES.length} records read, ${invalid} of them invalid\\.`))
    await check(directory, path, LINES)
    await runOrders(directory, [empty, path])
    await check(directory, path, LINES)
  })

  it('keeps an unbalanced quote to its own invoice', async () => {
    const path = write('quotes.csv', INVOICES, `${HEADER}\n`)
    const directory = scratch.newDirectory()
    await runOrders(directory, [path], '--format', 'online-retail')
    await check(directory, path, INVOICES, HEADER.length + 1)
  })

  it('takes an empty file as the whole input: empty tables, and no error', async () => {
    const path = write('nothing.ndjson', [])
    const directory = scratch.newDirectory()
    const { stdout } = await runOrders(directory, [path])
    assert.match(stdout, /: 0 records read, 0 of them invalid\./)
    await check(directory, path, [])
    assert.deepEqual(await rowsOf(directory, 'select * from ecommerce_orders.hourly_metrics'), [])
  })

  for (const [what, args, message] of [
    ['flag', ['--partition', '4'], /^error BAD_USAGE: unknown option '--partition'.*--partitions/],
    [
      'format',
      ['--format', 'online-retial'],
      /^error UNKNOWN_FORMAT: .*'online-retial'\.\n {2}Did you mean 'online-retail'\?/,
    ],
  ] as const) {
    it(`refuses an unknown ${what} with the nearest name, before anything is written`, async () => {
      const directory = scratch.newDirectory()
      const path = write('good.ndjson', [good('a')])
      const { exitCode, stdout, stderr } = await start(ordersRun(directory, [path], ...args)).said
      assert.equal(exitCode, 2)
      assert.equal(stdout, '')
      assert.match(stderr, message)
      await assert.rejects(rowsOf(directory, 'select 1'), /does not exist/)
    })
  }
})
