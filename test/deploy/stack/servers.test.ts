import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../../deploy/stack/command.ts'
import {
  freePorts,
  startKafka,
  startRedis,
  startRedisCluster,
  startRegistry,
  startSentinel,
  startToxiproxy,
  type KafkaOptions,
} from '../../../deploy/stack/servers.ts'
import { until } from '../../../deploy/stack/wait.ts'
import { openTestLog } from '../../log/kafkajs/support.ts'
import { ownServer } from '../../support/servers.ts'

/** Long for a server that answers, short for one that hangs. */
const COMMAND_MS = 3_000

const STACK = join(import.meta.dirname, '..', '..', '..', 'deploy', 'stack')

interface Stoppable {
  stop(): Promise<void>
}

describe('servers without containers', () => {
  const toStop: Stoppable[] = []
  const clients: Redis[] = []

  async function started<T extends Stoppable>(test: Mocha.Context, start: () => Promise<T>): Promise<T> {
    const server = await ownServer(test, start)
    toStop.push(server)
    return server
  }

  function client(url: string, options: object = {}): Redis {
    const redis = new Redis(url, { retryStrategy: (times) => Math.min(times * 50, 500), ...options })
    redis.on('error', () => null)
    clients.push(redis)
    return redis
  }

  afterEach(async () => {
    for (const redis of clients.splice(0)) redis.disconnect()
    await Promise.all(toStop.splice(0).map((server) => server.stop()))
  })

  describe('Kafka', () => {
    const topics = async (brokers: string, options: object = {}): Promise<string[]> => {
      const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING, ...options }).admin()
      await admin.connect()
      try {
        return await admin.listTopics()
      } finally {
        await admin.disconnect()
      }
    }

    const create = async (brokers: string, topic: string): Promise<void> => {
      const log = await openTestLog(brokers)
      await log.admin.createTopics([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
      await log.close()
    }

    /** A broker hears of a topic a little after the one that was asked for it. */
    const seen = (brokers: string, topic: string): Promise<void> =>
      until(`${topic} is seen`, async () => (await topics(brokers)).includes(topic))

    it('keeps its topics when it is killed and started again', async function () {
      const kafka = await started(this, () => startKafka())
      await create(kafka.env.KAFKA_BROKERS, 'kept')
      const { server } = kafka.brokers[0]!
      await server.kill()
      assert.equal(server.pid, 0)
      await server.start()
      await seen(kafka.env.KAFKA_BROKERS, 'kept')
    })

    it('serves by two of three brokers', async function () {
      const kafka = await started(this, () => startKafka({ brokers: 3 }))
      await create(kafka.env.KAFKA_BROKERS, 'kept')
      await kafka.brokers[0]!.server.kill()
      await seen(kafka.env.KAFKA_BROKERS, 'kept')
    })

    it('asks for log-in, TLS and ACLs', async function () {
      const options: KafkaOptions = { tls: true, sasl: { users: { alice: 'alice-secret' } }, acls: true }
      const kafka = await started(this, () => startKafka(options))
      await create(kafka.internalBrokers.join(), 'hidden')
      const ssl = { ca: readFileSync(kafka.certificates!.caFile, 'utf8') }
      const retry = { retries: 0 }
      const connectionTimeout = 20_000
      for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
        // A new object each time: KafkaJS puts the provider with the password into the one that it is given.
        const as = (password: string): object => ({
          ssl,
          sasl: { mechanism, username: 'alice', password },
          retry,
          connectionTimeout,
        })
        // Without an ACL she sees no topic.
        assert.deepEqual(await topics(kafka.env.KAFKA_BROKERS, as('alice-secret')), [])
        await assert.rejects(topics(kafka.env.KAFKA_BROKERS, as('wrong')), /authentication failed/)
      }
    })

    it('tells clients the port of a proxy that stands between', async function () {
      const toxiproxy = await started(this, startToxiproxy)
      const [port] = await freePorts(1)
      const kafka = await started(this, () => startKafka({ advertisedPorts: [port!] }))
      const proxy = await toxiproxy.proxy('kafka', `127.0.0.1:${kafka.brokers[0]!.port}`, port)
      assert.equal(kafka.env.KAFKA_BROKERS, `127.0.0.1:${port!}`)
      assert.deepEqual(await topics(kafka.env.KAFKA_BROKERS), [])
      await proxy.cut()
      await assert.rejects(topics(kafka.env.KAFKA_BROKERS, { retry: { retries: 0 } }))
    })
  })

  describe('Redis', () => {
    it('throws nothing away, and keeps what it is told to over a kill', async function () {
      const settings = { appendonly: 'yes', appendfsync: 'always' }
      const { env, nodes } = await started(this, () => startRedis({ settings }))
      const redis = client(env.REDIS_URL)
      assert.deepEqual(await redis.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'noeviction'])
      await redis.set('key', 'value')
      await nodes[0]!.server.kill()
      await nodes[0]!.server.start()
      assert.equal(await redis.get('key'), 'value')
    })

    it('falls silent when it is paused, and goes on', async function () {
      const { env, nodes } = await started(this, () => startRedis())
      const redis = client(env.REDIS_URL, { commandTimeout: COMMAND_MS })
      await redis.set('key', 'value')
      nodes[0]!.server.pause()
      await assert.rejects(redis.get('key'), /timed out/)
      nodes[0]!.server.resume()
      assert.equal(await redis.get('key'), 'value')
    })

    it('asks for TLS and a user', async function () {
      const acl = { millrace: 'on >secret ~* +@all' }
      const { env, certificates } = await started(this, () => startRedis({ tls: true, acl }))
      const tls = { ca: readFileSync(certificates!.caFile, 'utf8') }
      const redis = client(env.REDIS_URL, { tls, username: 'millrace', password: 'secret' })
      assert.equal(await redis.ping(), 'PONG')
      await assert.rejects(client(env.REDIS_URL, { tls }).ping(), /NOAUTH/)
    })

    it('fails over by its sentinels', async function () {
      const { nodes, sentinels } = await started(this, () => startSentinel())
      const redis = client('', {
        sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
        name: 'mymaster',
      })
      await redis.set('key', 'value')
      assert.equal(await redis.wait(1, 60_000), 1)
      await nodes[0]!.server.kill()
      const replica = client(`redis://127.0.0.1:${nodes[1]!.port}`)
      await until('the replica is master', async () =>
        (await replica.info('replication')).includes('role:master'),
      )
      assert.equal(await replica.get('key'), 'value')
    })

    it('forms a cluster', async function () {
      const { nodes } = await started(this, () => startRedisCluster())
      const info = await client(`redis://127.0.0.1:${nodes[0]!.port}`).cluster('INFO')
      assert.match(info as string, /cluster_state:ok[^]*cluster_slots_assigned:16384[^]*cluster_size:3/)
    })

    it('is reached by a connection that hangs, and by none at all', async function () {
      const toxiproxy = await started(this, startToxiproxy)
      const { nodes } = await started(this, () => startRedis())
      const proxy = await toxiproxy.proxy('redis', `127.0.0.1:${nodes[0]!.port}`)
      const redis = client(`redis://127.0.0.1:${proxy.port}`, {
        commandTimeout: COMMAND_MS,
        maxRetriesPerRequest: 0,
      })
      assert.equal(await redis.ping(), 'PONG')
      await proxy.add({ type: 'timeout', attributes: { timeout: 0 } })
      await assert.rejects(redis.ping(), /timed out/)
      await proxy.cut()
      await assert.rejects(redis.ping())
      await proxy.mend()
      await until('it answers again', async () =>
        redis.ping().then(
          () => true,
          () => false,
        ),
      )
    })
  })

  it('has a schema registry that refuses an incompatible schema, as Confluent does by default', async function () {
    const { env } = await started(this, () => startRegistry())
    const register = async (fields: unknown): Promise<number> => {
      const schema = JSON.stringify({ type: 'record', name: 'A', fields })
      const response = await fetch(`${env.SCHEMA_REGISTRY_URL}/subjects/a-value/versions`, {
        method: 'POST',
        headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
        body: JSON.stringify({ schema }),
      })
      return response.status
    }
    assert.equal(await register([{ name: 'a', type: 'string' }]), 200)
    assert.equal(await register([{ name: 'b', type: 'string' }]), 409)
  })

  it('end with the process that started them, also when that is killed', async function () {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-owner-'))
    try {
      const script = `import { startRedis } from ${JSON.stringify(join(STACK, 'servers.ts'))}
        const { nodes } = await startRedis()
        console.log([nodes[0].server.pid, nodes[0].server.logFile].join(" "))
        setInterval(() => null, 1000)`
      const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
        env: { ...process.env, TMPDIR: directory },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const [line] = (await once(owner.stdout, 'data')) as [Buffer]
      const [pid, logFile] = line.toString().trim().split(' ')
      assert.ok(existsSync(logFile!))
      owner.kill('SIGKILL')
      await until('the server ended', async () => Promise.resolve(!isAlive(Number(pid))))
      await until('its directory is gone', async () => Promise.resolve(!existsSync(logFile!)))
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('say what went wrong, with the end of their log', async function () {
    await started(this, () => startRedis())
    await assert.rejects(startRedis({ settings: { 'no-such-setting': 'yes' } }), {
      code: 'START_FAILED',
      message: /redis ended while it started[^]*no-such-setting/,
    })
  })
})

describe('npm run stack', () => {
  let directory = ''
  before(() => (directory = mkdtempSync(join(tmpdir(), 'millrace-stack-'))))
  after(() => rmSync(directory, { recursive: true, force: true }))

  const stack = async (...args: string[]): Promise<string> =>
    run(process.execPath, [join(STACK, 'main.ts'), ...args, '--dir', directory], { timeoutMs: 150_000 })

  it('leaves servers running, finds them again and ends them; their data stay', async function () {
    const said = await ownServer(this, () => stack('up', 'redis', '--detach'))
    const url = /^export REDIS_URL='(.+)'$/m.exec(said)![1]!
    const redis = new Redis(url)
    await redis.set('key', 'value')
    redis.disconnect()
    assert.ok((await stack('status')).includes(url))
    await assert.rejects(stack('up', 'redis'), /run in .+ already/)
    assert.equal(await stack('down'), '')
    assert.match(await stack('down'), /Nothing runs/)

    const again = new Redis(/'(.+)'/.exec(await stack('up', 'redis', '--detach'))![1]!)
    assert.equal(await again.get('key'), 'value')
    again.disconnect()
    await stack('down')
  })

  it('refuses what it does not know, with its usage', async () => {
    await assert.rejects(stack('up', 'cassandra'), /Unknown server cassandra\.\nUsage/)
    await assert.rejects(stack('sideways'), /Unknown command sideways/)
    await assert.rejects(stack('up', 'kafka', '--brokers', '2'), /--brokers is 1 or 3/)
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
