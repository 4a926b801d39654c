import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFile, chmod, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SourceNotice } from '../../../bridge/errors.ts'
import { files, type FilesOptions } from '../../../bridge/files/files-input.ts'
import type { SourcesSummary } from '../../../bridge/sources.ts'
import type { Log } from '../../../log/port.ts'
import { newLog, order, orderLine, readTopic, run, Scratch, stopRuns } from '../support.ts'
import { until } from '../../support/until.ts'

const { fields } = order.schema
const HEADER = 'order_id,customer_id,amount'

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => `${orderLine(from + i, from + i)}\n`).join('')
}

describe('a directory or a pattern as input', () => {
  let scratch: Scratch
  let log: Log
  let notices: SourceNotice[]
  let inbox: string

  beforeEach(async () => {
    scratch = await Scratch.make()
    log = await newLog({ partitions: 1 })
    notices = []
    inbox = join(scratch.path, 'inbox')
    await mkdir(inbox)
  })
  afterEach(async () => {
    stopRuns()
    await log.close()
    await scratch.remove()
  })

  const ids = async (): Promise<string[]> => (await readTopic(log)).records.map(({ key }) => key)
  const input = (options: Partial<FilesOptions> = {}) =>
    files({ paths: [inbox], fields, pollMs: 1, ...options })
  const read = (options: Partial<FilesOptions> = {}): Promise<SourcesSummary> =>
    run({ log, input: input(options), notices })
  const codes = (): string[] => notices.map(({ code }) => code)

  /** Runs live while the work is done. */
  async function live(work: () => Promise<void>, options: Partial<FilesOptions> = {}): Promise<void> {
    const stop = new AbortController()
    const running = run({ log, input: input(options), notices, finite: false, signal: stop.signal })
    const failed = running.then(() => Promise.reject(new Error('it ended')))
    await Promise.race([work(), failed])
    stop.abort()
    await running
  }
  const holds = async (...expected: string[]): Promise<void> => {
    const sorted = expected.sort().join()
    await until(async () => (await ids()).sort().join() === sorted)
  }

  it('is read in the order of the names, each file in its format, what is hidden or half written left out', async () => {
    await writeFile(join(inbox, 'b.csv'), `${HEADER}\nb,c,1\n`)
    await writeFile(join(inbox, 'a.json'), '[{"order_id":"a","customer_id":"c","amount":1}]')
    await writeFile(join(inbox, 'c'), '{"order_id":"c","customer_id":"c","amount":1}\n')
    for (const name of ['.hidden.csv', '_SUCCESS', 'd.csv.tmp', 'e.csv~', 'f.part']) {
      await writeFile(join(inbox, name), 'x')
    }
    await mkdir(join(inbox, 'sub.csv'))
    const summary = await read()
    assert.equal(summary.outcome, 'ended')
    assert.deepEqual(await ids(), ['a', 'b', 'c'])
    assert.deepEqual(notices, [])
    assert.equal((await read()).sources[0]!.processed, 0)
  })

  it('by a pattern, and one that nothing matches is said', async () => {
    await mkdir(join(inbox, 'deep'))
    await writeFile(join(inbox, 'deep', '1.csv'), `${HEADER}\na,c,1\n`)
    await writeFile(join(inbox, '2.csv'), `${HEADER}\nb,c,1\n`)
    await read({ paths: [join(inbox, '*.csv')] })
    assert.deepEqual(await ids(), ['b'])
    await read({ paths: [join(inbox, '**', '[1-9].csv')] })
    assert.deepEqual(await ids(), ['b', 'a'])
    await read({ paths: [join(inbox, '*.parquet')] })
    assert.match(notices[0]!.message, /there is no file to read in .*\*\.parquet/)
  })

  it('takes a name for itself before it is a pattern', async () => {
    const path = join(inbox, 'a[1].csv')
    await writeFile(path, `${HEADER}\na,c,1\n`)
    await writeFile(join(inbox, 'a1.csv'), `${HEADER}\nb,c,1\n`)
    await read({ paths: [path] })
    assert.deepEqual(await ids(), ['a'])
  })

  it('live: new files, growing ones, and those that are renamed into place', async () => {
    await live(async () => {
      await writeFile(join(inbox, 'a.ndjson'), lines(0, 1))
      await holds('o-0')
      await appendFile(join(inbox, 'a.ndjson'), lines(1, 2))
      await holds('o-0', 'o-1')
      await writeFile(join(inbox, 'b.csv.tmp'), `${HEADER}\no-2,c,1\n`)
      await rename(join(inbox, 'b.csv.tmp'), join(inbox, 'b.csv'))
      await holds('o-0', 'o-1', 'o-2')
      await appendFile(join(inbox, 'b.csv'), 'o-3,')
      await appendFile(join(inbox, 'b.csv'), 'c,1\n')
      await appendFile(join(inbox, 'a.ndjson'), lines(4, 5))
      await holds('o-0', 'o-1', 'o-2', 'o-3', 'o-4')
    })
    assert.deepEqual(notices, [])
    assert.equal((await read()).sources[0]!.processed, 0)
  })

  it('live: a file that is gone is said if it was not read to its end, and read on when it is back', async () => {
    const path = join(inbox, 'a.ndjson')
    const third = orderLine(2, 2)
    await live(async () => {
      await writeFile(path, lines(0, 1))
      await holds('o-0')
      await rm(path)
      await writeFile(join(inbox, 'b.ndjson'), lines(1, 2) + third.slice(0, 20))
      await holds('o-0', 'o-1')
      assert.deepEqual(codes(), [])
      await rename(join(inbox, 'b.ndjson'), join(scratch.path, 'b.ndjson'))
      await until(async () => notices.length === 1)
      assert.match(notices[0]!.message, /b\.ndjson is gone, and was not read to its end/)
      await appendFile(join(scratch.path, 'b.ndjson'), `${third.slice(20)}\n`)
      await rename(join(scratch.path, 'b.ndjson'), join(inbox, 'b.ndjson'))
      await holds('o-0', 'o-1', 'o-2')
    })
  })

  it('live: one that was read and is moved within the directory is not read again', async () => {
    await live(async () => {
      await writeFile(join(inbox, 'a.ndjson'), lines(0, 1))
      await holds('o-0')
      await rename(join(inbox, 'a.ndjson'), join(inbox, 'z.ndjson'))
      await until(async () => codes().includes('FILE_RECOGNISED'))
    })
    assert.deepEqual(await ids(), ['o-0'])
  })

  it('live: what is wrong with one file is said once, and the others are read; put right, it is read', async () => {
    const bad = join(inbox, 'bad.csv')
    await live(async () => {
      await writeFile(bad, 'order_id\nx\n')
      await until(async () => codes().includes('FILE_REFUSED'))
      await writeFile(join(inbox, 'good.csv'), `${HEADER}\na,c,1\n`)
      await holds('a')
      await writeFile(bad, `${HEADER}\nb,c,1\n`)
      await holds('a', 'b')
    })
    assert.deepEqual(codes(), ['FILE_REFUSED'])
    assert.match(notices[0]!.message, /bad\.csv lacks the columns .*Left alone until it changes/)
  })

  it('live: a Parquet file is read when it is whole', async () => {
    await live(async () => {
      await writeFile(join(inbox, 'a.parquet'), 'PAR1 and so on')
      await until(async () => codes().includes('FILE_REFUSED'))
    })
    assert.match(notices[0]!.message, /a\.parquet cannot be read as Parquet/)
    await assert.rejects(read(), { code: 'FILE_FORMAT' })
  })

  it('live: other content renamed into the place of a known file, or a shorter one, is refused; the former is read on', async () => {
    const path = join(inbox, 'a.ndjson')
    await live(async () => {
      await writeFile(path, lines(0, 2))
      await holds('o-0', 'o-1')
      await writeFile(join(scratch.path, 'other'), lines(5, 9))
      await rename(join(scratch.path, 'other'), path)
      await until(async () => codes().length === 1)
      await writeFile(path, lines(0, 1))
      await until(async () => codes().length === 2)
      await writeFile(path, lines(0, 3))
      await holds('o-0', 'o-1', 'o-2')
    })
    assert.match(
      notices[0]!.message,
      /a\.ndjson was read up to byte \d+, and what stands before that has changed/,
    )
    assert.match(notices[1]!.message, /now has only \d+ bytes/)
    await writeFile(path, lines(5, 9))
    await assert.rejects(read(), { code: 'FILE_CHANGED' })
    // Live it is refused from the start, and read on from where it stood once the former content is back.
    await live(async () => {
      await until(async () => codes().length === 3)
      await writeFile(path, lines(0, 4))
      await holds('o-0', 'o-1', 'o-2', 'o-3')
    })
  })

  it('live: the last row of a CSV file without a newline is taken when nobody has written for long', async () => {
    await live(
      async () => {
        await writeFile(join(inbox, 'a.csv'), `${HEADER}\na,c,1\nb,c,1`)
        await holds('a', 'b')
      },
      { settleMs: 300 },
    )
    assert.deepEqual(await ids(), ['a', 'b'])
  })

  it('what cannot be read in it is named: a pipe, a loop of links, a file that says not what it is', async () => {
    execFileSync('mkfifo', [join(inbox, 'fifo.csv')])
    await symlink('loop.csv', join(inbox, 'loop.csv'))
    await writeFile(join(inbox, 'README'), 'Hello')
    await writeFile(join(inbox, 'a.csv'), `${HEADER}\na,c,1\n`)
    await live(async () => {
      await holds('a')
      await until(async () => notices.length === 3)
    })
    const messages = notices.map(({ message }) => message).join('\n')
    assert.match(messages, /fifo\.csv is not a regular file/)
    assert.match(messages, /loop\.csv cannot be read .*lead back to themselves/)
    assert.match(messages, /README is left alone: neither its name nor its content says what it is/)
    await assert.rejects(read(), { code: 'FILE_UNREADABLE' })
  })

  it('names with newlines and other control characters are shown on one line', async () => {
    await writeFile(join(inbox, 'two\nlines\u001b[2J.csv'), 'order_id\nx\n')
    await assert.rejects(read(), { message: /two\\nlines\\u001b\[2J\.csv lacks the columns/ })
    await assert.rejects(read({ paths: [join(inbox, 'no\r.csv')] }), { message: /no\\r\.csv does not exist/ })
  })

  it('names the directory that this user may not look into, and goes on when it may', async function () {
    // Root may look into everything.
    if (process.getuid?.() === 0) this.skip()
    await chmod(inbox, 0)
    await assert.rejects(read(), { code: 'FILE_UNREADABLE', message: /inbox.*allow this user to read it/ })
    await chmod(inbox, 0o700)
    await live(async () => {
      await writeFile(join(inbox, 'a.csv'), `${HEADER}\na,c,1\n`)
      await holds('a')
      await chmod(inbox, 0)
      await until(async () => codes().includes('FILE_REFUSED'))
      await chmod(inbox, 0o700)
      await writeFile(join(inbox, 'b.csv'), `${HEADER}\nb,c,1\n`)
      await holds('a', 'b')
    })
  })

  it('live: a directory that is gone is said, and read when it is back', async () => {
    await live(async () => {
      await writeFile(join(inbox, 'a.ndjson'), lines(0, 1))
      await holds('o-0')
      await rm(inbox, { recursive: true })
      await until(async () => codes().includes('FILE_REFUSED'))
      await mkdir(inbox)
      await writeFile(join(inbox, 'b.ndjson'), lines(1, 2))
      await holds('o-0', 'o-1')
    })
    assert.match(notices[0]!.message, /inbox does not exist/)
  })
})
