import assert from 'node:assert/strict'
import { appendFile, chmod, link, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import type { SourceNotice } from '../../../bridge/errors.ts'
import { files } from '../../../bridge/files/files-input.ts'
import type { SourceReader } from '../../../bridge/reader.ts'
import { testScale } from '../../../config/test-scale.ts'
import type { Log } from '../../../log/port.ts'
import { newLog, orderLine, readDeadLetters, readTopic, run, Scratch, stopRuns } from '../support.ts'
import { until } from '../../support/until.ts'

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => `${orderLine(from + i, from + i)}\n`).join('')
}

async function ids(log: Log): Promise<string[]> {
  const { records } = await readTopic(log)
  return records.map(({ key }) => key).sort((a, b) => Number(a.slice(2)) - Number(b.slice(2)))
}

function range(to: number): string[] {
  return Array.from({ length: to }, (_, id) => `o-${id}`)
}

const never = new AbortController().signal

describe('files: what is read of them, and from where', () => {
  let scratch: Scratch
  let log: Log

  beforeEach(async () => {
    scratch = await Scratch.make()
    log = await newLog()
  })
  afterEach(async () => {
    stopRuns()
    await log.close()
    await scratch.remove()
  })

  it('reads any lines in any chunks, plain or gzip, with blanks, CRLF and a byte order mark', async () => {
    const line = fc.oneof(
      fc.constantFrom(
        '',
        ' ',
        '\t',
        '\r',
        '{',
        'null',
        '[1]',
        '{"amount":"abc"}',
        '\u00e9',
        '\u{1f600}',
        '\0',
      ),
      fc
        .nat({ max: 300 })
        .map((length) => JSON.stringify({ order_id: 'x'.repeat(length + 1), customer_id: 'é', amount: 1 })),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 40 }),
        fc.record({
          newline: fc.constantFrom('\n', '\r\n'),
          mark: fc.boolean(),
          gzip: fc.boolean(),
          chunkBytes: fc.integer({ min: 1, max: 700 }),
        }),
        async (all, { newline, mark, gzip, chunkBytes }) => {
          const log = await newLog({ partitions: 1, homes: 1 })
          const bytes = Buffer.from((mark ? '\ufeff' : '') + all.map((text) => text + newline).join(''))
          const path = await scratch.file('any', gzip ? gzipSync(bytes) : bytes)
          await run({ log, input: files({ paths: [path], format: 'ndjson', chunkBytes }) })
          const expected = all.filter((text) => text.trim() !== '' || text === '\0')
          const valid = expected.filter((text) => text.includes('order_id'))
          const { records } = await readTopic(log)
          assert.deepEqual(
            records.map(({ key }) => key),
            valid.map((text) => (JSON.parse(text) as { order_id: string }).order_id),
          )
          const letters = await readDeadLetters(log)
          assert.deepEqual(
            letters.map(({ payload }) => Buffer.from(payload).toString()),
            expected.filter((text) => !text.includes('order_id')),
          )
          for (const { position, payload, line } of letters) {
            assert.ok(bytes.subarray(position, position + payload.length).equals(payload))
            assert.equal(line, bytes.subarray(0, position).toString('latin1').split('\n').length)
          }
          await log.close()
        },
      ),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('reads growth on from where it stood', async () => {
    const path = await scratch.file('grows.ndjson', lines(0, 3))
    const input = files({ paths: [path] })
    await run({ log, input })
    await appendFile(path, lines(3, 5))
    const summary = await run({ log, input })
    assert.equal(summary.sources[0]!.processed, 2)
    assert.deepEqual(await ids(log), range(5))
  })

  it('takes an unterminated last line that is a whole object, and leaves one that is not', async () => {
    const notices: SourceNotice[] = []
    const path = await scratch.file('open.ndjson', lines(0, 1) + orderLine(1, 1))
    const input = files({ paths: [path] })
    await run({ log, input, notices })
    assert.deepEqual(await ids(log), range(2))
    assert.equal(notices.length, 0)
    const whole = orderLine(2, 2)
    await appendFile(path, `\n${whole.slice(0, 20)}`)
    await run({ log, input, notices })
    assert.deepEqual(await ids(log), range(2))
    assert.match(notices[0]!.message, /open\.ndjson: 20 bytes at the end without a newline/)
    await appendFile(path, whole.slice(20))
    await run({ log, input, notices })
    assert.deepEqual(await ids(log), range(3))
  })

  it('does not take a number for a whole record: it may go on', async () => {
    const path = await scratch.file('number.ndjson', '12')
    await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual(await readDeadLetters(log), [])
    await appendFile(path, '3\n')
    await run({ log, input: files({ paths: [path] }) })
    assert.equal(Buffer.from((await readDeadLetters(log))[0]!.payload).toString(), '123')
  })

  it('refuses changed content under a known path, says where it differs, and writes nothing', async () => {
    const content = lines(0, 1500)
    assert.ok(content.length > 100_000)
    const path = await scratch.file('changed.ndjson', content)
    const other = await scratch.file('other.ndjson', lines(2000, 2001))
    await run({ log, input: files({ paths: [path] }) })
    const input = files({ paths: [other, path] })
    await writeFile(path, content.replace('c-', 'd-'))
    await assert.rejects(run({ log, input }), {
      code: 'FILE_CHANGED',
      message: /changed\.ndjson.*within its first 65536 bytes.*another path/,
    })
    await writeFile(path, `${content.slice(0, 90_000)}#${content.slice(90_001)}`)
    await assert.rejects(run({ log, input }), {
      code: 'FILE_CHANGED',
      message: /behind its first 65536 bytes/,
    })
    await writeFile(path, content.slice(0, 5000))
    await assert.rejects(run({ log, input }), { code: 'FILE_TRUNCATED', message: /now has only 5000 bytes/ })
    assert.deepEqual(await ids(log), range(1500))
    await writeFile(path, content)
    await run({ log, input })
    assert.equal((await ids(log)).length, 1501)
  })

  it('recognises the same content under another path by its full hash, and only that', async () => {
    const notices: SourceNotice[] = []
    const path = await scratch.file('a.ndjson', lines(0, 3))
    await run({ log, input: files({ paths: [path] }) })
    const moved = join(scratch.path, 'b.ndjson')
    await rename(path, moved)
    await run({ log, input: files({ paths: [moved] }), notices })
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['FILE_RECOGNISED'],
    )
    assert.match(notices[0]!.message, /b\.ndjson has the same content as .*a\.ndjson/)
    assert.deepEqual(await ids(log), range(3))
    const alike = await scratch.file('c.ndjson', lines(0, 3).replace('o-2', 'o-3'))
    const summary = await run({ log, input: files({ paths: [alike] }) })
    assert.equal(summary.sources[0]!.processed, 3)
  })

  it('reads a file once that is given twice, by whatever name', async () => {
    const path = await scratch.file('once.ndjson', lines(0, 2))
    const linked = join(scratch.path, 'linked.ndjson')
    const copied = join(scratch.path, 'copied.ndjson')
    await symlink(path, linked)
    await link(path, copied)
    const summary = await run({ log, input: files({ paths: [path, linked, path, copied] }) })
    assert.equal(summary.sources[0]!.processed, 2)
  })

  it('reads files in the order given', async () => {
    const one = await scratch.file('1.ndjson', `${orderLine(0, 500)}\n`)
    const two = await scratch.file('2.ndjson', `${orderLine(1, 100)}\n`)
    await run({ log, input: files({ paths: [two, one] }) })
    const { records } = await readTopic(log)
    assert.equal(records.find(({ key }) => key === 'o-1')!.watermarkMs, null)
    assert.notEqual(records.find(({ key }) => key === 'o-0')!.watermarkMs, null)
  })

  it('reads everything of a cut gzip file that decompresses, reports the rest, and goes on with the others', async () => {
    const notices: SourceNotice[] = []
    const text = Array.from({ length: 5000 }, (_, id) => `${orderLine(id, (id * 7919) % 1000)}\n`).join('')
    const whole = gzipSync(text)
    const half = whole.subarray(0, whole.length >> 1)
    const path = await scratch.file('cut.gz', half)
    const next = await scratch.file('next.ndjson', `${orderLine(9000, 1)}\n`)
    const readable = gunzipSync(half, { finishFlush: 2 }).toString().split('\n').length - 1
    const input = files({ paths: [path, next] })
    await run({ log, input, notices })
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['FILE_DAMAGED'],
    )
    assert.match(notices[0]!.message, /cut\.gz.*unexpected end of file/)
    assert.equal((await ids(log)).length, readable + 1)
    await writeFile(path, whole)
    await run({ log, input })
    assert.equal((await ids(log)).length, 5001)
  })

  it('does not take an unterminated last line of a cut gzip file, whole as it may look', async () => {
    const whole = gzipSync(orderLine(0, 0))
    const path = await scratch.file('cut.gz', whole.subarray(0, -4))
    await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual(await ids(log), [])
  })

  it('reads gzip of several members, whatever the name says', async () => {
    const path = await scratch.file(
      'members.txt',
      Buffer.concat([gzipSync(lines(0, 2)), gzipSync(lines(2, 4))]),
    )
    await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual(await ids(log), range(4))
  })

  it('tails a live file: growth is read, the unfinished line waits', async () => {
    const path = await scratch.file('tail.ndjson', lines(0, 2))
    const stop = new AbortController()
    const running = run({
      log,
      input: files({ paths: [path], pollMs: 1 }),
      finite: false,
      signal: stop.signal,
    })
    await until(async () => (await ids(log)).length === 2)
    const third = `${orderLine(2, 2)}\n`
    await appendFile(path, third.slice(0, 30))
    await appendFile(path, third.slice(30) + lines(3, 4))
    await until(async () => (await ids(log)).length === 4)
    stop.abort()
    const summary = await running
    assert.equal(summary.endMarkMs, null)
    assert.deepEqual(await ids(log), range(4))
    assert.deepEqual(
      (await readTopic(log)).marks.flat().filter(({ kind }) => kind === 'end'),
      [],
    )
  })

  it('reads on what a live file grew by just before the end, though its growth had been seen', async () => {
    const path = await scratch.file('tail.ndjson', lines(0, 2))
    const input = files({ paths: [path], pollMs: 1 })
    const stored = new Map<string, string>()
    const seen: unknown[] = []
    const sink = {
      value: (json: unknown) => void seen.push(json),
      reject: (reason: string) => assert.fail(reason),
    }
    const open = (finite: boolean): Promise<SourceReader> =>
      input.open({ source: 'orders', stored, finite, nowMs: 0, signal: never, notice: () => null })
    const readAll = async (reader: SourceReader): Promise<void> => {
      while ((await reader.read(sink, 0)) === 'more');
    }
    const live = await open(false)
    await readAll(live)
    // The growth is noticed, and positions are stored before it is read.
    await appendFile(path, lines(2, 3))
    await live.wait(1, never)
    for (const { key, value } of live.takePositions()) stored.set(key, value)
    await live.close()
    const next = await open(true)
    await readAll(next)
    await next.close()
    assert.equal(seen.length, 3)
  })

  it('ends the last record of a live file behind which another stands, and waits for that of the last', async () => {
    const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n'
    const line = (invoice: number): string =>
      `${invoice},A,THING,1,2024-05-01 00:0${invoice}:00,2.5,17850.0,France\n`
    const first = await scratch.file('1.csv', header + line(1) + line(2))
    const second = await scratch.file('2.csv', header + line(3) + line(4))
    const stop = new AbortController()
    const running = run({
      log,
      input: files({ paths: [first, second], format: 'online-retail', pollMs: 1 }),
      finite: false,
      signal: stop.signal,
    })
    await until(async () => (await readTopic(log)).records.length === 3)
    await appendFile(second, line(5))
    await until(async () => (await readTopic(log)).records.length === 4)
    stop.abort()
    await running
    const keys = (await readTopic(log)).records.map(({ key }) => key).sort()
    assert.deepEqual(keys, ['1', '2', '3', '4'])
  })

  it('takes an empty file as it is', async () => {
    const path = await scratch.file('empty.ndjson', '')
    const summary = await run({ log, input: files({ paths: [path] }) })
    assert.deepEqual(summary, {
      sources: [{ name: 'orders', processed: 0, invalid: 0, behindWatermark: 0, bytes: 0 }],
      endMarkMs: null,
      outcome: 'ended',
    })
  })

  it('refuses what cannot be read before anything runs', async () => {
    const good = await scratch.file('good.ndjson', lines(0, 1))
    const missing = join(scratch.path, 'missing.ndjson')
    await assert.rejects(run({ log, input: files({ paths: [good, missing] }) }), {
      code: 'FILE_MISSING',
      message: `${missing} does not exist: check the path.`,
    })
    await assert.rejects(run({ log, input: files({ paths: [good, `${good}/`] }) }), {
      code: 'FILE_IS_NO_DIRECTORY',
    })
    assert.deepEqual(await ids(log), [])
  })

  it('names the file that this user may not read', async function () {
    // Root may read everything.
    if (process.getuid?.() === 0) this.skip()
    const path = await scratch.file('secret.ndjson', lines(0, 1))
    await chmod(path, 0)
    await assert.rejects(run({ log, input: files({ paths: [path] }) }), {
      code: 'FILE_UNREADABLE',
      message: /secret\.ndjson.*allow this user to read it/,
    })
  })

  it('names the nearest format', () => {
    assert.throws(() => files({ paths: [], format: 'nd-json' }), {
      code: 'UNKNOWN_FORMAT',
      message: /no format 'nd-json'\. Did you mean 'ndjson'\?/,
    })
    assert.throws(() => files({ paths: [], format: 'xml' }), { message: /'xml'\. There are: ndjson, json/ })
  })
})
