import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import type { SourceNotice } from '../../../bridge/errors.ts'
import { pipe, type PipeOptions } from '../../../bridge/files/pipe-input.ts'
import { testScale } from '../../../config/test-scale.ts'
import type { Log } from '../../../log/port.ts'
import { FaultyLog } from '../faulty-log.ts'
import { newLog, order, orderLine, readDeadLetters, readTopic, run, stopRuns } from '../support.ts'
import { until } from '../../support/until.ts'

const { fields } = order.schema

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => `${orderLine(from + i, from + i)}\n`).join('')
}

describe('standard input: what comes once', () => {
  let log: Log
  let notices: SourceNotice[]
  beforeEach(async () => {
    log = await newLog({ partitions: 1 })
    notices = []
  })
  afterEach(async () => {
    stopRuns()
    await log.close()
  })

  const ids = async (): Promise<string[]> => (await readTopic(log)).records.map(({ key }) => key)
  const from = (stream: Readable, options: Partial<PipeOptions> = {}) =>
    pipe({ stream, name: 'stdin', fields, ...options })

  it('is read to its end, in any pieces, each record once, whatever the log answers', async () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 20 })
    const faults = fc.record({ atCall: fc.integer({ min: 2, max: 12 }), after: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(pieces, faults, fc.boolean(), async (sizes, { atCall, after }, isGzip) => {
        const log = await newLog({ partitions: 1, homes: 1 })
        const bytes = Buffer.from(lines(0, 30))
        const whole = isGzip ? gzipSync(bytes) : bytes
        const input = await from(Readable.from(cutUp(whole, sizes), { objectMode: false }), {
          chunkBytes: 300,
        })
        await run({
          log: new FaultyLog(log, { atCall, kind: 'error', after }),
          input,
          transaction: { maxRecords: 3 },
        })
        const { records } = await readTopic(log)
        assert.deepEqual(
          records.map(({ key }) => key),
          Array.from({ length: 30 }, (_, id) => `o-${id}`),
        )
        await log.close()
      }),
      { numRuns: testScale.propertyRuns },
    )
  })

  it('live: what came is committed while more is waited for, and it can be stopped', async () => {
    const stream = new PassThrough()
    const stop = new AbortController()
    const running = run({ log, input: await from(stream), finite: false, signal: stop.signal })
    stream.write(lines(0, 2) + orderLine(2, 2).slice(0, 10))
    await until(async () => (await ids()).length === 2)
    stream.write(`${orderLine(2, 2).slice(10)}\n`)
    await until(async () => (await ids()).length === 3)
    stop.abort()
    await running
  })

  it('names the line of a bad row, and says what was no whole record at the end', async () => {
    const text = 'order_id,customer_id,amount\n1,c,1\nbad\n2,c,2\n3,c'
    const input = await from(Readable.from([Buffer.from(text)], { objectMode: false }), { format: 'csv' })
    await run({ log, input, notices })
    assert.deepEqual(await ids(), ['1', '2'])
    const [letter] = await readDeadLetters(log)
    assert.deepEqual([letter!.source, letter!.line, letter!.field], ['stdin', 3, 'customer_id'])
    assert.match(notices[0]!.message, /stdin: its last 3 bytes are no whole record/)
  })

  it('gives of a cut gzip what decompresses, and says so', async () => {
    const cut = gzipSync(lines(0, 3)).subarray(0, -8)
    await run({ log, input: await from(Readable.from([cut], { objectMode: false })), notices })
    assert.deepEqual(await ids(), ['o-0', 'o-1', 'o-2'])
    assert.deepEqual(
      notices.map(({ code }) => code),
      ['FILE_DAMAGED'],
    )
  })

  it('may be empty', async () => {
    await run({ log, input: await from(Readable.from([], { objectMode: false })) })
    assert.deepEqual(await ids(), [])
  })

  it('refuses a format that needs a file', async () => {
    await assert.rejects(from(new PassThrough(), { format: 'parquet' }), {
      code: 'BAD_SOURCE',
      message: /write it to a file first/,
    })
  })
})

/** The bytes in pieces of these sizes, over and over. */
function cutUp(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const size = sizes[pieces.length % sizes.length]!
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}
