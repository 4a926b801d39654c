import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Status } from '../../cli/status/status.ts'
import { sharedKafka, sharedRedis } from '../support/servers.ts'
import { WebhookServer } from '../sinks/webhook/server.ts'
import { writeRenamedPipeline } from './renamed-pipeline.ts'
import { millrace, Processes } from './support.ts'

describe('millrace status', () => {
  let cwd: string
  const processes = new Processes()
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-status-'))
  })
  afterEach(async () => {
    await processes.kill()
    rmSync(cwd, { recursive: true, force: true })
  })

  async function status(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Status> {
    const { exitCode, stdout, stderr } = await millrace(['status', ...args, '--json'], { cwd, env })
    assert.equal(exitCode, 0, stderr)
    return JSON.parse(stdout) as Status
  }

  /** The first that is so. */
  async function until(look: () => Promise<Status>, isSo: (status: Status) => boolean): Promise<Status> {
    const deadline = Date.now() + 120_000
    for (;;) {
      const found = await look()
      if (isSo(found)) return found
      assert.ok(Date.now() < deadline, JSON.stringify(found, null, 1))
      await sleep(200)
    }
  }

  it('says where nothing has run', async () => {
    const { exitCode, stderr } = await millrace(['status', 'orders'], { cwd })
    assert.equal(exitCode, 1)
    assert.match(
      stderr,
      /^error DATA_DIR_UNUSABLE: nothing has run in .*millrace-data yet: run the pipeline first/,
    )
    assert.deepEqual(readdirSync(cwd), [])
  })

  it('shows of a directory where each task and table stands, and changes nothing in it', async () => {
    const data = join(cwd, 'data')
    await millrace(['run', 'orders', '--count', '5000', '--exit-when-done', '--data-dir', data], { cwd })
    const files = ['format', 'log/data.mdb', 'state/data.mdb', 'warehouse.duckdb']
    const bytes = files.map((file) => readFileSync(join(data, file)))
    const { holder, members, tasks, sinks, notes } = await status(['orders', '--data-dir', data])
    assert.deepEqual([holder, members, notes], [null, [], []])
    assert.deepEqual(
      tasks.map(({ task }) => task),
      ['orders_0', 'orders_1', 'orders_2', 'orders_3', 'metrics_0'],
    )
    for (const { committed, end, lag, watermark, state } of tasks) {
      assert.equal(lag, 0)
      assert.ok(committed! > 0 && committed! <= end)
      assert.ok(Date.parse(watermark!) > 0)
      assert.match(state!.topology!, /^[0-9a-f]{16}$/)
    }
    const [orders] = sinks
    assert.equal(orders!.table, 'ecommerce_orders.orders')
    assert.ok(orders!.rows! > 4_000)
    assert.ok(sinks.every(({ lag }) => lag === 0))
    for (const [i, file] of files.entries()) {
      assert.ok(readFileSync(join(data, file)).equals(bytes[i]!), file)
    }
    const { stdout } = await millrace(['status', 'orders', '--data-dir', 'data'], { cwd })
    assert.match(
      stdout,
      /No process is running\.[^]*orders_3 +orders\.order-events-3 [^]*dead_letters +0 +\d+\n\nnotifier [^]*process-order-alerts +\d+ +\d+ +0 +-\n$/,
    )
  })

  it('shows how far people have been told, and by what', async () => {
    const server = await new WebhookServer().listen()
    try {
      const run = ['run', 'orders', '--since', '30m', '--count', '14900', '--exit-when-done']
      const { exitCode, stderr } = await millrace([...run, '--data-dir', join(cwd, 'data')], {
        cwd,
        env: { ALERT_WEBHOOK_URL: server.url, MILLRACE_LOG_LEVEL: 'silent' },
      })
      assert.equal(exitCode, 0, stderr)
    } finally {
      await server.close()
    }
    assert.equal(server.taken.length, 2)
    const { notifiers, sinks } = await status(['orders', '--data-dir', join(cwd, 'data')])
    const alerts = sinks.find(({ table }) => table === 'ecommerce_orders.order_alerts')!
    assert.deepEqual(
      notifiers.map(({ notifier, topic, lag, openRuns }) => [notifier, topic, lag, openRuns]),
      [
        ['process-order-alerts', alerts.topic, 0, null],
        ['process-order-alerts.webhook', alerts.topic, 0, 0],
      ],
    )
    for (const { recorded } of notifiers) assert.ok(recorded! >= alerts.rows!)
    const { stdout } = await millrace(['status', 'orders', '--data-dir', join(cwd, 'data')], { cwd })
    assert.match(
      stdout,
      /^notifier +dealt with +end +waiting +open runs\n[─ ]+\nprocess-order-alerts +\d+ +\d+ +0 +-\nprocess-order-alerts\.webhook +\d+ +\d+ +0 +0$/m,
    )
  })

  it('shows who has the directory, and goes on looking while that runs', async () => {
    const live = ['--rate', '1000', '--since', '10m', '--data-dir', 'data']
    const run = processes.start(['run', 'orders', ...live], { cwd })
    const look = async (): Promise<Status> => {
      const { exitCode, stdout } = await millrace(['status', 'orders', '--data-dir', 'data', '--json'], {
        cwd,
      })
      return exitCode === 0 ? (JSON.parse(stdout) as Status) : ({ tasks: [], sinks: [] } as unknown as Status)
    }
    const found = await until(look, ({ sinks }) => (sinks[0]?.rows ?? 0) > 0)
    assert.equal(found.holder?.pid, run.pid)
    assert.ok(found.tasks.some(({ committed }) => committed! > 0))
  })

  it('shows on Kafka and Redis every process, its tasks, what waits, and the state', async function () {
    const [{ brokers }, { url }] = [await sharedKafka(this), await sharedRedis(this)]
    const env = { KAFKA_BROKERS: brokers, REDIS_URL: url }
    const { file, name } = writeRenamedPipeline(cwd)
    const look = (): Promise<Status> => status([file, '--warehouse', 'tables'], env)
    for (const MILLRACE_INSTANCE of ['one', 'two']) {
      processes.start(['process', file], { cwd, env: { ...env, MILLRACE_INSTANCE } })
    }
    processes.start(['sink', file, '--warehouse', 'tables'], { cwd, env })
    processes.start(['bridge', file, '--count', '3000', '--rate', '100'], { cwd, env })
    const found = await until(look, ({ members, tasks, sinks }) => {
      const working = members.filter(({ role, has }) => role === 'process' && has.length > 0)
      const isDone = tasks.every(({ lag, state }) => lag === 0 && state !== null)
      return working.length === 2 && isDone && (sinks[0]!.rows ?? 0) > 2_500
    })
    const workers = found.members.filter(({ role }) => role === 'process')
    assert.deepEqual(workers.map(({ client }) => client).sort(), [
      `millrace-${name}-process-one`,
      `millrace-${name}-process-two`,
    ])
    assert.deepEqual(workers.flatMap(({ has }) => has).sort(), [
      'metrics_0',
      'orders_0',
      'orders_1',
      'orders_2',
      'orders_3',
    ])
    assert.ok(workers.every(({ host, topology }) => host !== '' && topology === found.topology))
    assert.ok(found.members.some(({ role, client }) => role === 'sink' && client === `millrace-${name}-sink`))
    for (const { task, member, state } of found.tasks) {
      assert.equal(member, workers.find(({ has }) => has.includes(task))!.member)
      assert.ok(state!.size!.incarnations >= 1)
    }
    assert.ok(found.tasks[0]!.state!.size!.entries > 0 && found.tasks[0]!.state!.size!.bytes > 0)
  })
})
