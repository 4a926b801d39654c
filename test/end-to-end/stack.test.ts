import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { startKafka, startRedis, type KafkaServers } from '../../deploy/stack/servers.ts'
import { until } from '../../deploy/stack/wait.ts'
import { ownServer, sharedRegistry } from '../support/servers.ts'
import { monthsOrSkip } from './shared-data.ts'
import { BIN, digestsIn, runOrders, Scratch, Started, type Said } from './support.ts'

const FORMAT = ['--format', 'online-retail']

type Env = Readonly<Record<string, string>>

describe('orders on Kafka and Redis, on four months of an online shop', function () {
  this.timeout(300_000)
  const scratch = new Scratch()
  let months: string[]
  /** The tables of the embedded run, whose figures online-retail.test.ts proves. */
  let expected: Record<string, string>
  let redis: Awaited<ReturnType<typeof startRedis>>
  /** A cluster for each test: one pipeline has one set of topics on it. */
  let kafka: KafkaServers
  let env: Env
  let started: Started[]

  before(async function () {
    months = monthsOrSkip(this)
    redis = await ownServer(this, () => startRedis())
    const embedded = scratch.newDirectory()
    await runOrders(embedded, months, ...FORMAT)
    expected = await digestsIn(embedded)
  })
  after(async () => {
    await redis.stop()
    scratch.remove()
  })
  beforeEach(async function () {
    started = []
    kafka = await ownServer(this, () => startKafka())
    env = { KAFKA_BROKERS: kafka.env.KAFKA_BROKERS, REDIS_URL: redis.env.REDIS_URL }
  })
  afterEach(async () => {
    for (const process of started) await process.kill('SIGKILL')
    await kafka.stop()
  })

  /** Starts `millrace` with these servers in its environment. */
  function millrace(args: readonly string[], more: Env = {}): Started {
    const own = Object.entries(process.env).filter(
      ([name]) => !/^(MILLRACE_|KAFKA_|REDIS_|SCHEMA_)/.test(name),
    )
    const child = new Started(
      spawn(process.execPath, [BIN, ...args], {
        cwd: scratch.path,
        env: { ...Object.fromEntries(own), ...env, ...more },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      }),
    )
    started.push(child)
    return child
  }
  const bridge = (files: readonly string[]): Started =>
    millrace(['bridge', 'orders', '--input', ...files, ...FORMAT, '--exit-when-done'])
  const worker = (...more: string[]): Started => millrace(['process', 'orders', '--exit-when-done', ...more])
  const sink = (directory: string): Started =>
    millrace(['sink', 'orders', '--warehouse', directory, '--exit-when-done'])

  /** What they said; as soon as one has failed, why. */
  function ended(...all: readonly Started[]): Promise<Said[]> {
    return Promise.all(
      all.map(async ({ said }) => {
        const { exitCode, stdout, stderr } = await said
        assert.equal(exitCode, 0, `${stdout}\n${stderr}`)
        return { exitCode, stdout, stderr }
      }),
    )
  }

  for (const count of [1, 2, 4]) {
    it(`gives the tables of the embedded run with ${count} processing, all started at once`, async () => {
      const directory = scratch.newDirectory()
      const workers = Array.from({ length: count }, () => worker())
      const [filled, written] = await ended(bridge(months), sink(directory), ...workers)
      assert.match(
        filled!.stdout,
        /^orders: log 127\.0\.0\.1:\d+ \(Kafka, 4 partitions\); source orders from /,
      )
      assert.match(filled!.stdout, /: 6,878 records read, 1,112 of them invalid\.$/m)
      assert.match(written!.stdout, /^ecommerce_orders\.orders +5,765$/m)
      assert.deepEqual(await digestsIn(directory), expected)
    })
  }

  it('gives them with one command for two processes', async () => {
    const directory = scratch.newDirectory()
    const [, both] = await ended(bridge(months), worker('--processes', '2'), sink(directory))
    for (const number of [1, 2]) assert.match(both!.stdout, new RegExp(`^\\[${number}\\] Done after `, 'm'))
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('ends the processes of a command that was killed', async () => {
    const works = millrace(['process', 'orders', '--processes', '2'])
    assert.ok(await works.bound)
    const children = readFileSync(`/proc/${works.pid}/task/${works.pid}/children`, 'utf8').trim().split(' ')
    assert.equal(children.length, 2)
    process.kill(works.pid, 'SIGKILL')
    await until('both have ended', async () =>
      Promise.resolve(children.every((pid) => !existsSync(`/proc/${pid}`))),
    )
  })

  it('gives them in one process, and adds nothing when it is run again', async () => {
    const directory = scratch.newDirectory()
    const run = (): Started =>
      millrace([
        'run',
        'orders',
        '--input',
        ...months,
        ...FORMAT,
        '--warehouse',
        directory,
        '--exit-when-done',
      ])
    const [said] = await ended(run())
    assert.match(said!.stdout, /state redis:\/\/127\.0\.0\.1:\d+ \(Redis\)/)
    assert.match(said!.stdout, /^1 duplicate of 'orders' so far, dropped\.$/m)
    assert.deepEqual(await digestsIn(directory), expected)
    const [again] = await ended(run())
    assert.match(again!.stdout, /: 0 records read, 0 of them invalid\.$/m)
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('gives them with schemas in a registry server', async function () {
    const { url } = await sharedRegistry(this)
    env = { ...env, SCHEMA_REGISTRY_URL: url }
    const directory = scratch.newDirectory()
    await ended(bridge(months), worker(), worker(), sink(directory))
    assert.deepEqual(await digestsIn(directory), expected)
    const subjects = (await (await fetch(`${url}/subjects`)).json()) as string[]
    assert.ok(subjects.includes('orders.order-events-value'), subjects.join())
  })

  it('gives them when two bridges read, one of them a part of it, whichever comes first', async () => {
    const directory = scratch.newDirectory()
    const works = millrace(['process', 'orders'])
    const [all, part] = await ended(bridge(months), bridge(months.slice(0, 2)))
    const read = [all!, part!].map(({ stdout }) =>
      Number(/: ([\d,]+) records? read/.exec(stdout)![1]!.replace(',', '')),
    )
    assert.equal(read[0]! + read[1]!, 6_878)
    await ended(sink(directory))
    await works.kill('SIGTERM')
    await ended(works)
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('gives them while workers come and go, each handing over what it had', async () => {
    const directory = scratch.newDirectory()
    const stays = millrace(['process', 'orders'])
    for (const [i, signal] of (['SIGTERM', 'SIGINT', 'SIGTERM', 'SIGINT'] as const).entries()) {
      const reads = bridge(months.slice(0, i + 1))
      const passing = millrace(['process', 'orders'])
      assert.ok(await passing.bound)
      await ended(reads)
      await passing.kill(signal)
      const [said] = await ended(passing)
      assert.match(said!.stderr, new RegExp(`^${signal}: ending cleanly`))
    }
    await ended(sink(directory))
    await stays.kill('SIGTERM')
    await ended(stays)
    assert.deepEqual(await digestsIn(directory), expected)
  })
})
