import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Output } from '../../../cli/io.ts'
import type { RunFigures } from '../../../cli/live/figures.ts'
import { Reporter, type ReporterOptions } from '../../../cli/live/reporter.ts'
import { createLogger } from '../../../telemetry/log.ts'
import { figures } from './figures.ts'
import { Screen } from './screen.ts'

describe('what a run says while it runs', () => {
  let nowMs = 0
  beforeEach(() => (nowMs = Date.parse('2026-11-21T12:00:00Z')))

  function reporter(
    stdout: Output,
    {
      env = {},
      stderr = sameTerminal(stdout),
      ...options
    }: Partial<ReporterOptions> & { env?: Record<string, string>; stderr?: Output } = {},
  ): Reporter {
    return new Reporter({
      io: { stdout, stderr, env, cwd: '/' },
      clock: { nowMs: () => nowMs },
      application: 'orders',
      roles: ['bridge', 'process', 'sink'],
      isFinite: false,
      json: false,
      everyMs: 1,
      ...options,
    })
  }

  /** Figures that say when they were looked at so often. */
  function looks(
    times: number,
    of: (look: number) => RunFigures,
  ): { look: () => RunFigures; done: Promise<void> } {
    const { promise, resolve } = Promise.withResolvers<void>()
    let look = 0
    return {
      done: keepAlive(promise),
      look: () => {
        nowMs += 1_000
        if (++look >= times) resolve()
        return of(look)
      },
    }
  }

  describe('on a terminal', () => {
    for (const columns of [80, 120]) {
      it(`draws one view over itself in ${columns} columns, and leaves nothing of it`, async () => {
        const screen = new Screen(columns, 24)
        const run = reporter(screen)
        const { look, done } = looks(5, (n) => figures({ read: n * 1_000 }))
        run.begin('orders: bound', look)
        await done
        assert.equal(screen.text.match(/orders · run/g)?.length, 1, screen.text)
        assert.match(screen.text, / read +\d+,000 +1,000\/s/)
        assert.equal(screen.wraps, 0)
        run.end('stopped')
        assert.equal(screen.text, 'orders: bound')
      })
    }

    it('lets notices and the lines of the log stand above the view, whole', async () => {
      const screen = new Screen(80, 24)
      const stderr = sameTerminal(screen)
      const run = reporter(screen, { stderr })
      const logger = createLogger('warn', { pipeline: 'orders' }, (line) => run.error(line))
      const { look, done } = looks(5, () => figures())
      run.begin('orders: bound', look)
      run.notice('something happened')
      logger.warn('look out')
      stderr.write('said by a library\n')
      await done
      run.error('SIGINT: ending cleanly\n')
      const lines = screen.text.split('\n')
      const view = lines.findIndex((line) => line.startsWith('orders · run'))
      assert.deepEqual(lines.slice(0, 2), ['orders: bound', 'something happened'])
      const logged = lines.slice(2, view - 2).join('')
      assert.equal((JSON.parse(logged) as { msg: string }).msg, 'look out')
      assert.deepEqual(lines.slice(view - 2, view), ['said by a library', 'SIGINT: ending cleanly'])
      assert.equal(screen.text.match(/orders · run/g)?.length, 1, screen.text)
      run.end('stopped')
    })

    it('follows the window: what became narrower or wider leaves no remains', async () => {
      const screen = new Screen(120, 30)
      // Nothing but the window makes it draw again.
      const run = reporter(screen, { everyMs: 60_000 })
      run.begin('orders: bound', () => figures())
      for (const [columns, rows] of [
        [70, 30],
        [40, 40],
        [100, 24],
      ] as const) {
        screen.resize(columns, rows)
        await keepAlive(screen.written())
        assert.equal(screen.text.match(/orders · run/g)?.length, 1, `${columns}:\n${screen.text}`)
        assert.ok(screen.text.startsWith('orders: bound\norders · run'), `${columns}:\n${screen.text}`)
        assert.ok(screen.text.split('\n').every((line) => line.length < columns))
      }
      run.end('drained')
      assert.equal(screen.text, 'orders: bound')
    })

    it('is coloured as NO_COLOR, FORCE_COLOR and the terminal ask for', () => {
      const drawn = (output: Recorded, env: Record<string, string>): string => {
        const run = reporter(output, { env })
        run.begin('', () => figures())
        run.end('stopped')
        return output.text
      }
      const isColoured = (text: string): boolean => /\u001b\[\d+m/.test(text)
      assert.ok(isColoured(drawn(recorded(true), {})))
      assert.ok(!isColoured(drawn(recorded(true), { NO_COLOR: '1' })))
      assert.ok(isColoured(drawn(recorded(true), { NO_COLOR: '1', FORCE_COLOR: '1' })))
      assert.ok(!isColoured(drawn(recorded(true), { FORCE_COLOR: '0' })))
      assert.ok(!drawn(recorded(true), { TERM: 'dumb' }).includes('\u001b'), 'nothing can be drawn over')
    })
  })

  describe('into a pipe', () => {
    it('goes line by line, without any control character, and says nothing twice', async () => {
      const output = recorded(false)
      const run = reporter(output)
      const { look, done } = looks(7, (n) =>
        figures({ read: n < 5 ? 1_000 : 2_000, lag: n < 5 ? 7 : 0, tasks: null }),
      )
      run.begin('orders: bound', look)
      run.notice('something happened')
      await done
      run.end('drained')
      const [first, second, ...lines] = output.text.trimEnd().split('\n')
      assert.deepEqual([first, second], ['orders: bound', 'something happened'])
      assert.equal(new Set(lines).size, lines.length)
      assert.match(
        lines[0]!,
        /^50 % \(1\.0 GiB of 2\.0 GiB\), 1,000 records read \(0\/s, 512 invalid\), 7 waiting, 51,512 rows written \(0\/s\), watermark 2026-11-21 14:06:07$/,
      )
      assert.doesNotMatch(output.text, /[\u0000-\u0009\u000b-\u001f]/)
    })
  })

  describe('with --json', () => {
    it('is one object a line: the start, the progress, notices and the end', async () => {
      const output = recorded(true)
      const run = reporter(output, { json: true, isFinite: true, stderr: recorded(false) })
      run.notice('before it begins')
      const { look, done } = looks(3, () => figures())
      run.begin('orders: bound', look)
      await done
      assert.equal(run.end('drained'), false, 'no summary for people')
      const lines = output.text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepEqual([...new Set(lines.map(({ type }) => type))], ['notice', 'start', 'progress', 'end'])
      const { time, elapsedMs, ...last } = lines.at(-1)!
      assert.ok(Date.parse(time as string) > 0)
      assert.ok((elapsedMs as number) >= 3_000)
      assert.deepEqual(last, {
        type: 'end',
        outcome: 'drained',
        lag: 1_204,
        watermark: '2026-11-21T14:06:07.000Z',
        left: { done: 2 ** 30, total: 2 ** 31, unit: 'bytes', seconds: null },
        bridge: { read: 52_340, readPerSecond: 0, invalid: 512 },
        process: {
          open: 5,
          restoring: 0,
          processed: 51_136,
          closed: 51,
          late: 3,
          duplicates: 118,
          refused: 0,
          processedPerSecond: 0,
        },
        sink: { rows: 51_512, rowsPerSecond: 0 },
        sources: [
          {
            name: 'orders',
            read: 52_340,
            readPerSecond: 0,
            invalid: 512,
            lag: 1_204,
            watermark: '2026-11-21T14:06:07.000Z',
          },
        ],
        tables: [
          { name: 'ecommerce_orders.orders', written: 51_000, lag: 123, writtenPerSecond: 0 },
          { name: 'dead_letters', written: 512, lag: 0, writtenPerSecond: 0 },
        ],
      })
    })
  })
})

interface Recorded extends Output {
  text: string
}

function recorded(isTTY: boolean): Recorded {
  const output: Recorded = { isTTY, columns: 80, rows: 24, text: '', write: (text) => (output.text += text) }
  return output
}

/** Another stream to the same place. */
function sameTerminal(stdout: Output): Output {
  return { isTTY: stdout.isTTY === true, write: (text) => stdout.write(text) }
}

/** The timer of a reporter keeps no process alive; in a run the work does. */
async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const abort = new AbortController()
  const alive = sleep(60_000, undefined, { signal: abort.signal }).catch(() => undefined)
  try {
    return await promise
  } finally {
    abort.abort()
    await alive
  }
}
