import assert from 'node:assert/strict'
import { files } from '../../../bridge/files/files-input.ts'
import type { Clock } from '../../../config/clock.ts'
import type { Log } from '../../../log/port.ts'
import { APPLICATION, newLog, orderLine, readDeadLetters, readTopic, run, Scratch } from '../support.ts'

const FAILED_AT = Date.UTC(2026, 0, 2, 3, 4, 5)
const clock: Clock = { nowMs: () => FAILED_AT }

function withAmount(amount: string): string {
  return `{"order_id":"x","customer_id":"c","amount":${amount}}`
}

function withTime(timestamp: string): string {
  return `{"order_id":"x","customer_id":"c","amount":1,"timestamp":"${timestamp}"}`
}

describe('bad input: a dead letter each, and nothing lost', () => {
  let scratch: Scratch
  let log: Log

  beforeEach(async () => {
    scratch = await Scratch.make()
    log = await newLog({ partitions: 1 })
  })
  afterEach(async () => {
    await log.close()
    await scratch.remove()
  })

  it('keeps the address, the line, the reason, the field and the original bytes of each', async () => {
    const bad: readonly (readonly [record: string | Buffer, reason: RegExp, field: string | null])[] = [
      ['{"order_id":"x"', /^broken JSON: Expected ',' or '}'/, null],
      ['not json', /^broken JSON: Unexpected token/, null],
      [withAmount('NaN'), /^broken JSON: /, null],
      [withAmount('1e999'), /amount|finite/, 'amount'],
      [withAmount('"abc"'), /amount|number/, 'amount'],
      [withAmount('true'), /amount|number/, 'amount'],
      ['{"customer_id":"c","amount":1}', /^missing order_id$/, 'order_id'],
      ['{"order_id":"x","customer_id":17,"amount":1}', /customer_id|text|string/, 'customer_id'],
      ['[1,2]', /object/, null],
      ['null', /object/, null],
      [withTime('1970-01-01T00:00:00Z'), /timestamp|old/, 'timestamp'],
      [withTime('2200-01-01T00:00:00Z'), /timestamp|ahead/, 'timestamp'],
      [Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), /^not valid UTF-8$/, null],
      [Buffer.from([0, 0, 0]), /^broken JSON: /, null],
    ]
    const parts: Buffer[] = [Buffer.from(`${orderLine(1, 1)}\n`)]
    const positions: number[] = []
    for (const [record] of bad) {
      positions.push(Buffer.concat(parts).length)
      parts.push(Buffer.from(record as string), Buffer.from('\n'))
    }
    parts.push(Buffer.from(`${orderLine(2, 2)}\n`))
    const path = await scratch.file('bad.ndjson', Buffer.concat(parts))
    const summary = await run({ log, clock, input: files({ paths: [path] }) })
    assert.equal(summary.sources[0]!.processed, 2)
    assert.equal(summary.sources[0]!.invalid, bad.length)
    const letters = await readDeadLetters(log)
    for (const [index, [record, reason, field]] of bad.entries()) {
      const { payload, ...letter } = letters[index]!
      assert.match(letter.reason, reason)
      assert.ok(Buffer.from(record as string).equals(payload))
      assert.deepEqual(letter, {
        pipeline: APPLICATION,
        source: path,
        partition: 0,
        position: positions[index],
        reason: letter.reason,
        field,
        failed_at: FAILED_AT,
        line: index + 2,
      })
    }
  })

  it('refuses a 10 MB record, keeps its bytes, and reads on', async () => {
    const large = withAmount(`"${'9'.repeat(10_000_000)}"`)
    const path = await scratch.file('large.ndjson', `${large}\n${orderLine(1, 1)}\n`)
    const summary = await run({ log, input: files({ paths: [path] }) })
    assert.equal(summary.sources[0]!.processed, 1)
    const [letter] = await readDeadLetters(log)
    assert.equal(letter!.reason, `record too large (${large.length} bytes, limit 1048576)`)
    assert.ok(Buffer.from(large).equals(letter!.payload))
  })

  for (const chunkBytes of [64, 1000, 4096]) {
    it(`keeps the beginning of a record beyond all bounds, reading ${chunkBytes} bytes at once`, async () => {
      const limits = { maxRecordBytes: 500, maxPayloadBytes: 2000, chunkBytes }
      const huge = 'x'.repeat(50_000)
      const content = `${orderLine(1, 1)}\n${huge}\n${orderLine(2, 2)}\n${huge}y\n${orderLine(3, 3)}\n`
      const path = await scratch.file('huge.ndjson', content)
      const input = files({ paths: [path], ...limits })
      await run({ log, input })
      const letters = await readDeadLetters(log)
      assert.deepEqual(
        letters.map(({ reason }) => reason.replace(/;.*/, '')),
        ['record too large (50000 bytes, limit 500)', 'record too large (50001 bytes, limit 500)'],
      )
      for (const { payload, reason } of letters) {
        assert.ok(payload.length >= 2000)
        assert.ok(huge.startsWith(Buffer.from(payload).toString().slice(0, 2000)))
        if (payload.length < 50_000) assert.match(reason, /the payload keeps its first \d+ bytes$/)
      }
      assert.equal((await readTopic(log)).records.length, 3)
      // The hash of what was dropped is part of the file's: the second run knows it again.
      const again = await run({ log, input })
      assert.equal(again.sources[0]!.processed + again.sources[0]!.invalid, 0)
    })

    it(`keeps invoices apart when one of their lines is beyond all bounds, reading ${chunkBytes} bytes`, async () => {
      const limits = { maxRecordBytes: 500, maxPayloadBytes: 2000, chunkBytes, format: 'online-retail' }
      const line = (number: string, text: string): string =>
        `${number},A,${text},1,2010-12-01 08:26:00,1.5,1.0,UK\n`
      const content =
        'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n' +
        line('1', 'LAMP') +
        line('2', 'x'.repeat(20_000)) +
        line('2', 'LAMP') +
        line('3', 'LAMP')
      const path = await scratch.file('huge.csv', content)
      const input = files({ paths: [path], ...limits })
      await run({ log, input })
      const { records } = await readTopic(log)
      assert.deepEqual(records.map(({ key }) => key).sort(), ['1', '3'])
      const letters = await readDeadLetters(log)
      assert.equal(letters.length, 1)
      assert.equal(letters[0]!.position, content.indexOf('\n2,') + 1)
      assert.match(letters[0]!.reason, /^record too large \(20\d\d\d bytes, limit 500\)/)
      assert.ok(Buffer.from(letters[0]!.payload).toString().startsWith('2,A,xxx'))
      const again = await run({ log, input })
      assert.equal(again.sources[0]!.processed + again.sources[0]!.invalid, 0)
    })
  }
})
