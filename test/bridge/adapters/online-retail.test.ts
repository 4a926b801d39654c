import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { files } from '../../../bridge/files/files-input.ts'
import type { SourceNotice } from '../../../bridge/errors.ts'
import { monthsOrSkip } from '../../end-to-end/shared-data.ts'
import { newLog, readDeadLetters, readTopic, run, Scratch } from '../support.ts'

const HEADER = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country'

describe('online-retail: invoices as orders', () => {
  let scratch: Scratch

  before(async () => {
    scratch = await Scratch.make()
  })
  after(() => scratch.remove())

  async function orders(lines: readonly string[]) {
    const log = await newLog()
    const path = await scratch.file('invoices.csv', [HEADER, ...lines, ''].join('\n'))
    await run({ log, input: files({ paths: [path], format: 'online-retail' }) })
    const { records } = await readTopic(log)
    return { records: records.map(({ value }) => value), deadLetters: await readDeadLetters(log), path }
  }

  it('makes one order of consecutive lines with one InvoiceNo, its amount summed exactly', async () => {
    const { records } = await orders([
      '536365,A,LAMP,6,2010-12-01 08:26:00,0.1,17850.0,United Kingdom',
      '536365,B,"LAMP, ""RED""",1,2010-12-01 08:27:00,0.2,17850.0,France',
      'C536379,D,Discount,-1,2010-12-01 09:41:00,27.50,14527.0,Spain',
    ])
    assert.deepEqual(
      records.sort((a, b) => Number(a['amount']) - Number(b['amount'])),
      [
        {
          order_id: 'C536379',
          customer_id: '14527',
          amount: -27.5,
          status: 'cancelled',
          country: 'Spain',
          timestamp: Date.UTC(2010, 11, 1, 9, 41),
        },
        {
          order_id: '536365',
          customer_id: '17850',
          amount: 0.8,
          status: 'delivered',
          country: 'United Kingdom',
          timestamp: Date.UTC(2010, 11, 1, 8, 26),
        },
      ],
    )
  })

  it('refuses an invoice without a customer, and keeps all its lines as they stand', async () => {
    const lines = ['1,A,X,1,2010-12-01 08:26:00,1.5,,UK', '1,B,Y,1,2010-12-01 08:26:00,1.5,,UK']
    const { records, deadLetters, path } = await orders(lines)
    assert.equal(records.length, 0)
    assert.equal(deadLetters.length, 1)
    const [letter] = deadLetters
    assert.equal(letter!.reason, 'missing customer_id')
    assert.equal(letter!.field, 'customer_id')
    assert.equal(letter!.source, path)
    assert.equal(letter!.partition, 0)
    assert.equal(letter!.position, HEADER.length + 1)
    assert.equal(Buffer.from(letter!.payload).toString(), lines.join('\n'))
  })

  it('refuses the invoice of a line that cannot be read, naming line and column, and no other', async () => {
    const bad: readonly (readonly [line: string, field: string, reason: RegExp])[] = [
      ['2,A,"LAMP,1,2010-12-01 08:26:00,1.5,1.0,UK', 'Description', /quote is not closed/],
      ['2,A,LA"MP,1,2010-12-01 08:26:00,1.5,1.0,UK', 'Description', /does not begin with one/],
      ['2,A,"LA"MP,1,2010-12-01 08:26:00,1.5,1.0,UK', 'Description', /behind its closing quote/],
      ['2,A,LAMP,x,2010-12-01 08:26:00,1.5,1.0,UK', 'Quantity', /not a number: "x"/],
      ['2,A,LAMP,1,2010-12-01 08:26:00,,1.0,UK', 'UnitPrice', /not a number: ""/],
      ['2,A,LAMP,1,2010-12-01 08:26:00,1e3,1.0,UK', 'UnitPrice', /not a number/],
      ['2,A,LAMP,1,2010-12-01', 'UnitPrice', /5 columns where there should be 8/],
      ['2,A,LAMP,1,2010-12-01 08:26:00,1.5,1.0,UK,more', 'Country', /9 columns/],
    ]
    for (const [line, field, reason] of bad) {
      const { records, deadLetters } = await orders([
        '1,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK',
        '2,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK',
        line,
        '3,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK',
      ])
      assert.deepEqual(records.map((record) => record['order_id']).sort(), ['1', '3'], line)
      assert.equal(deadLetters.length, 1)
      assert.match(deadLetters[0]!.reason, /^line 2 of invoice 2: /)
      assert.match(deadLetters[0]!.reason, reason)
      assert.equal(deadLetters[0]!.field, field, line)
    }
  })

  it('refuses an invoice whose date cannot be read, instead of taking the file time', async () => {
    const { records, deadLetters } = await orders([
      '1,A,X,1,,1.5,1.0,UK',
      '2,A,X,1,2010-13-01 08:26:00,1.5,1.0,UK',
    ])
    assert.equal(records.length, 0)
    assert.deepEqual(
      deadLetters.map(({ field }) => field),
      ['InvoiceDate', 'timestamp'],
    )
  })

  it('refuses a file without its header before anything is written, naming the column', async () => {
    const log = await newLog()
    const good = await scratch.file('good.csv', `${HEADER}\n1,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK\n`)
    const bad = await scratch.file('bad.csv', 'InvoiceNo,StockCode,Description,Qty\n1,2,3,4\n')
    await assert.rejects(run({ log, input: files({ paths: [good, bad], format: 'online-retail' }) }), {
      code: 'FILE_HEADER',
      message: /bad\.csv.*lacks the column 'Quantity'/,
    })
    assert.equal((await readTopic(log)).records.length, 0)
  })

  it('leaves the whole last invoice unread while its last line is not finished', async () => {
    const log = await newLog()
    const notices: SourceNotice[] = []
    const start = `${HEADER}\n1,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK\n`
    const open = '2,A,X,1,2010-12-01 08:26:00,1.5,1.0,UK\n2,B,X,1,2010-12-01 08:26:00,2.'
    const path = await scratch.file('growing.csv', start + open)
    const input = files({ paths: [path], format: 'online-retail' })
    await run({ log, input, notices })
    assert.deepEqual(
      (await readTopic(log)).records.map(({ key }) => key),
      ['1'],
    )
    assert.equal(notices.length, 1)
    assert.match(notices[0]!.message, new RegExp(`${open.length} bytes at the end without a newline`))
    await scratch.file('growing.csv', `${start}${open}5,1.0,UK\n`)
    await run({ log, input })
    const { records } = await readTopic(log)
    assert.equal(records.length, 2)
    assert.equal(records.find(({ key }) => key === '2')!.value['amount'], 4)
  })

  it('reads the shared four months as an independent computation does', async function () {
    const paths = monthsOrSkip(this)
    const log = await newLog()
    const summary = await run({ log, input: files({ paths, format: 'online-retail' }) })
    assert.equal(summary.sources[0]!.processed, 5_766)
    assert.equal(summary.sources[0]!.invalid, 1_112)

    const expected = await recompute(paths)
    const { records, marks } = await readTopic(log)
    const found = new Map<string, number[]>()
    for (const { key, value } of records) {
      found.set(key, [...(found.get(key) ?? []), Math.round(Number(value['amount']) * 100)])
    }
    assert.deepEqual([...found].sort(), [...expected].sort())
    assert.equal(found.get('542806')!.length, 2, 'the one duplicate')
    assert.deepEqual(
      marks.map((here) => here.at(-1)),
      marks.map(() => ({ kind: 'end', e: Date.UTC(2011, 2, 31, 19, 55) })),
    )
  })
})

/** Pence by order, in another way than the adapter's: a regular expression for lines and whole pence. */
async function recompute(paths: readonly string[]): Promise<Map<string, number[]>> {
  const sums = new Map<string, number[]>()
  for (const path of paths) {
    const text = gunzipSync(await readFile(path)).toString('utf8')
    let last = ''
    let customer = ''
    let mills = 0
    const close = (): void => {
      if (last !== '' && customer !== '') sums.set(last, [...(sums.get(last) ?? []), Math.round(mills / 10)])
    }
    for (const line of text.split('\n').slice(1, -1)) {
      const match = /^([^,]*),[^,]*,(?:"(?:[^"]|"")*"|[^,]*),(-?\d+),[^,]*,(-?[\d.]+),([\d.]*),[^,]*$/.exec(
        line,
      )
      assert.ok(match !== null, line)
      if (match[1] !== last) {
        close()
        last = match[1]!
        customer = match[4]!
        mills = 0
      }
      mills += Number(match[2]) * Math.round(Number(match[3]) * 1000)
    }
    close()
  }
  return sums
}
