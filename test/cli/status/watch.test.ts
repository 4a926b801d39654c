import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Output } from '../../../cli/io.ts'
import { coloursFor } from '../../../cli/live/colours.ts'
import { statusFrame } from '../../../cli/status/frame.ts'
import type { Status } from '../../../cli/status/status.ts'
import { Watch } from '../../../cli/status/watch.ts'
import { LogError } from '../../../log/errors.ts'
import { BIN, millrace, Processes } from '../support.ts'
import { Screen } from '../live/screen.ts'
import { until } from '../../support/until.ts'

function statusOf(taskCount: number, lag = 7): Status {
  const member = { group: 'g', member: 'm', host: '10.0.0.1', topology: 'abc', waitsFor: null }
  return {
    application: 'orders',
    log: '127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094',
    topology: 'abc',
    holder: null,
    members: [
      { ...member, role: 'process', client: 'millrace-orders-process-a', has: ['orders_0', 'orders_1'] },
      { ...member, role: 'sink', client: 'millrace-orders-sink', has: ['orders.order-events-0'] },
      { ...member, role: 'sink', client: 'millrace-orders-sink', has: ['orders.dead-letters-0'] },
    ],
    tasks: Array.from({ length: taskCount }, (_, partition) => ({
      task: `orders_${partition}`,
      topic: 'orders.order-events',
      partition,
      committed: 1_000,
      end: 1_000 + lag,
      lag,
      watermark: '2026-11-21T17:47:25.000Z',
      member: 'm',
      state: null,
    })),
    sinks: ['ecommerce_orders.orders', 'dead_letters'].map((table) => {
      return { table, topic: `orders.${table}`, members: 1, lag: 3, rows: 48_163 }
    }),
    notifiers: [
      {
        notifier: 'process-order-alerts.webhook',
        topic: 'orders.order-alerts',
        members: 1,
        recorded: 40,
        end: 42,
        lag: 2,
        openRuns: 1,
      },
    ],
    notes: ['millrace-orders-process-b waits until the last process with another topology has left'],
  }
}

interface Watched {
  readonly watch: Watch
  readonly done: Promise<void>
  readonly looks: () => number
  stop(): Promise<void>
}

/** Looks that give these in turn, and the last for ever. */
function watched(
  stdout: Output,
  results: readonly (Status | Error)[],
  { json = false, stderr = stdout }: { json?: boolean; stderr?: Output } = {},
): Watched {
  let nowMs = Date.parse('2026-11-21T12:00:00Z')
  let looks = 0
  const stop = new AbortController()
  const clock = { nowMs: () => (nowMs += 1_000) }
  const watch = new Watch({ io: { stdout, stderr, env: {}, cwd: '/' }, clock, json, everyMs: 1 })
  const look = (): Promise<Status> => {
    const result = results[Math.min(looks++, results.length - 1)]!
    return result instanceof Error ? Promise.reject(result) : Promise.resolve(result)
  }
  const done = watch.run(look, stop.signal)
  done.catch(() => undefined)
  return {
    watch,
    done,
    looks: () => looks,
    stop: () => {
      stop.abort()
      return done
    },
  }
}

function recorded(): Output & { text: string } {
  return {
    text: '',
    write(text: string) {
      this.text += text
    },
  }
}

describe('the view of millrace status --watch', () => {
  const plain = coloursFor(false)
  const frame = (status: Status, columns: number, rows: number): string[] =>
    statusFrame(status, { time: '2026-11-21 12:00:00', problem: null, columns, rows, colours: plain })

  for (const [columns, rows, tasks] of [
    [80, 24, 4],
    [80, 24, 256],
    [120, 40, 64],
    [40, 15, 64],
    [20, 6, 64],
  ] as const) {
    it(`fits a terminal of ${columns} columns and ${rows} rows, with ${tasks} tasks`, () => {
      const lines = frame(statusOf(tasks), columns, rows)
      assert.ok(lines.length < rows, `${lines.length} lines`)
      for (const line of lines) assert.ok(line.length < Math.max(columns, 21), line)
      if (columns < 40) return
      const text = lines.join('\n')
      for (const part of [/^orders · /m, /^! millrace-orders/m, /^ {2}process/m, /^ {2}process-order-/m])
        assert.match(text, part)
      const shown = lines.filter((line) => line.startsWith('  orders_')).length
      const waiting = ((tasks - shown) * 7).toLocaleString('en-US')
      if (shown < tasks) assert.match(text, new RegExp(`… ${tasks - shown} more, ${waiting} waiting`))
    })
  }

  it('shows processes once, whatever groups they are in', () => {
    const lines = frame(statusOf(2), 120, 40)
    assert.match(
      lines.find((line) => line.startsWith('  millrace-orders-sink'))!,
      / 10\.0\.0\.1 +sink +2$/,
    )
    assert.equal(lines.filter((line) => line.includes('millrace-orders-sink')).length, 1)
  })

  it('is drawn over itself, follows the window, and stays when it ends', async () => {
    const screen = new Screen(100, 30)
    const view = watched(screen, [statusOf(4, 5), statusOf(4, 6), statusOf(4, 70_000)])
    await until(() => view.looks() > 4)
    const drawings = (): number => screen.text.match(/^orders · /gm)!.length
    assert.equal(drawings(), 1, screen.text)
    assert.match(screen.text, /orders_0 .* 70,000 /)
    screen.resize(60, 40)
    await until(() => view.looks() > 8)
    assert.equal(drawings(), 1, screen.text)
    assert.ok(screen.text.split('\n').every((line) => line.length < 60))
    view.watch.notice('kafka: no broker answers; trying again.')
    assert.match(screen.text, /^kafka: no broker answers; trying again\.\norders · /)
    await view.stop()
    assert.equal(drawings(), 1, screen.text)
    assert.equal(screen.wraps, 0)
  })

  it('says what fails at a look, and goes on', async () => {
    const screen = new Screen(100, 30)
    const failure = new LogError('UNAVAILABLE', 'no broker\nanswers.')
    const view = watched(screen, [statusOf(1), failure, failure])
    await until(() => view.looks() > 3)
    assert.match(screen.text, /^orders · [^\n]*\n! UNAVAILABLE: no broker answers\.\n/)
    assert.match(screen.text, /orders_0 /)
    await view.stop()
  })

  it('ends with what fails at the first look, and with a fault of ours at any', async () => {
    const failure = new LogError('UNAVAILABLE', 'no broker answers.')
    await assert.rejects(watched(new Screen(80, 24), [failure]).done, failure)
    const fault = new TypeError('a bug')
    await assert.rejects(watched(new Screen(80, 24), [statusOf(1), fault]).done, fault)
  })
})

describe('what millrace status --watch gives a pipe', () => {
  it('is a line a look', async () => {
    const output = recorded()
    const view = watched(output, [
      statusOf(4),
      new LogError('UNAVAILABLE', 'no broker answers.'),
      statusOf(4, 0),
    ])
    await until(() => view.looks() > 3)
    await view.stop()
    const lines = output.text.split('\n')
    assert.equal(
      lines[0],
      '2026-11-21 12:00:01 2 processes, 28 waiting for 4 tasks, 6 for 2 tables, 2 for 1 notifier, watermark ' +
        '2026-11-21 17:47:25, ! millrace-orders-process-b waits until the last process with another topology has left',
    )
    assert.equal(lines[1], '2026-11-21 12:00:02 ! UNAVAILABLE: no broker answers.')
    assert.match(lines[2]!, /^2026-11-21 12:00:03 2 processes, 0 waiting for 4 tasks/)
    assert.doesNotMatch(output.text, /\u001b/)
  })

  it('is an object a look with --json', async () => {
    const output = recorded()
    const view = watched(output, [statusOf(2), new LogError('UNAVAILABLE', 'away.'), statusOf(2)], {
      json: true,
    })
    await until(() => view.looks() > 3)
    await view.stop()
    const [first, second] = output.text.split('\n').map((line): unknown => line && JSON.parse(line))
    assert.deepEqual(first, { time: '2026-11-21T12:00:01.000Z', ...statusOf(2) })
    assert.deepEqual(second, {
      time: '2026-11-21T12:00:02.000Z',
      error: { code: 'UNAVAILABLE', message: 'away.' },
    })
  })
})

describe('millrace status --watch', () => {
  let cwd: string
  const processes = new Processes()
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-watch-'))
  })
  afterEach(async () => {
    await processes.kill()
    rmSync(cwd, { recursive: true, force: true })
  })

  const start = (...args: string[]): ChildProcess =>
    processes.start([...args, '--data-dir', 'data'], { cwd }, 'pipe')

  it('follows a run from beside it, past its end, until Ctrl+C', async () => {
    const run = start('run', 'orders', '--rate', '6000', '--since', '10m')
    await once(run.stdout!, 'data')
    run.stdout!.resume()
    const watch = start('status', 'orders', '--watch', '--json')
    const seen: Status[] = []
    for await (const line of createInterface({ input: watch.stdout! })) {
      const status = JSON.parse(line) as Partial<Status>
      // The tables are nobody's for a moment while the run lets go of them.
      if (status.tasks === undefined) continue
      seen.push(status as Status)
      const { holder, tasks } = status as Status
      if (holder !== null && tasks.some(({ committed }) => (committed ?? 0) > 0)) run.kill('SIGINT')
      if (holder === null) break
    }
    assert.equal(seen[0]!.holder!.pid, run.pid)
    assert.ok(seen.at(-1)!.tasks.reduce((sum, { committed }) => sum + (committed ?? 0), 0) > 0)
    watch.kill('SIGINT')
    const [exitCode] = (await once(watch, 'exit')) as [number]
    assert.equal(exitCode, 0)
  })

  it('is within 80 columns in a real terminal', async function () {
    // util-linux' `script` gives it a terminal of its own.
    if (process.platform !== 'linux' || spawnSync('script', ['--version']).status !== 0) this.skip()
    await millrace(
      ['run', 'orders', '--count', '1000', '--exit-when-done', '--data-dir', join(cwd, 'data')],
      { cwd },
    )
    const command = `"${process.execPath}" "${BIN}" status orders --watch --data-dir data`
    const child = processes.add(
      spawn('script', ['-qefc', `stty cols 80 rows 24; exec ${command}`, '/dev/null'], {
        cwd,
        stdio: ['pipe', 'pipe', 'ignore'],
        env: { ...process.env, TERM: 'xterm-256color' },
      }),
    )
    const closed = once(child, 'close')
    let said = ''
    child.stdout.on('data', (text: Buffer) => (said += text.toString()))
    await until(() => said.split('\u001b[?2026h').length > 3)
    // Ctrl+C.
    child.stdin.write('\u0003')
    await closed
    const screen = new Screen(80, 24)
    screen.write(said)
    assert.equal(screen.wraps, 0, screen.text)
    assert.equal(screen.text.match(/^orders · .*no process is running/gm)?.length, 1, screen.text)
    assert.match(screen.text, /^ {2}orders_3 +\d+ +0 +20/m)
    assert.match(screen.text, /^ {2}process-order-alerts +/m)
  })
})
