import assert from 'node:assert/strict'
import { Redis } from 'ioredis'
import { freePorts, startRedis, type RedisServers } from '../../deploy/stack/servers.ts'
import { ownServer, sharedKafka } from '../support/servers.ts'
import { assertSays, Stage } from './support.ts'

describe('a Redis that is set up wrongly', () => {
  let brokers: string
  let server: RedisServers
  /** Whoever mends it. */
  let redis: Redis
  let stage: Stage

  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
    server = await ownServer(this, () => startRedis())
    redis = new Redis(server.env.REDIS_URL)
  })
  beforeEach(async () => {
    stage = await Stage.open({ brokers, redis: server.env.REDIS_URL })
    await stage.setUp()
    await stage.send(30)
    const running = await stage.start()
    await stage.processed()
    await running.stop()
    await stage.send(10)
  })
  afterEach(() => stage.close())
  after(async () => {
    redis.disconnect()
    await server.stop()
  })

  interface Fault {
    readonly name: string
    /** What it says, of the fault and of how to mend it. */
    readonly says: readonly RegExp[]
    inject(): Promise<unknown>
    /** As the message says. */
    mend(): Promise<unknown>
  }

  const faults: readonly Fault[] = [
    {
      name: 'is out of memory',
      says: [/out of memory and takes no writes/, /Raise its memory \(CONFIG SET maxmemory/],
      inject: () => redis.config('SET', 'maxmemory', '1'),
      mend: () => redis.config('SET', 'maxmemory', '0'),
    },
    {
      name: 'is a read-only replica',
      says: [/is a replica and takes no writes/, /REDIS_URL/],
      inject: async () => redis.replicaof('127.0.0.1', String((await freePorts(1))[0]!)),
      mend: () => redis.replicaof('NO', 'ONE'),
    },
    {
      name: 'wants a password that it is not given',
      says: [/wants a password/, /Put user and password into REDIS_URL/],
      inject: async () => {
        await redis.config('SET', 'requirepass', 'secret')
        await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      },
      mend: () => redis.config('SET', 'requirepass', ''),
    },
    {
      name: 'evicts keys',
      says: [/evicts keys when its memory is full/, /CONFIG SET maxmemory-policy noeviction/],
      inject: async () => {
        await redis.config('SET', 'maxmemory-policy', 'allkeys-random')
        // What memory that runs full would take, at its own choice: here the sums of the windows that are open.
        const keys = await redis.keys(`*${stage.application}*:*:00*`)
        assert.ok(keys.length > 0)
        await redis.unlink(...keys)
      },
      mend: () => redis.config('SET', 'maxmemory-policy', 'noeviction'),
    },
  ]

  for (const { name, says, inject, mend } of faults) {
    it(`refuses a start where it ${name}, and goes on when that is mended`, async () => {
      await inject()
      try {
        const refused = await stage.refusal()
        assertSays(refused, 'STATE_UNAVAILABLE', ...says)
      } finally {
        await mend()
      }
      await stage.start()
      await stage.assertUndisturbed()
    })

    it(`is waited for where it ${name} while a worker runs, and goes on when that is mended`, async () => {
      const running = await stage.start(stage.plan, {}, { cacheBytes: 0 })
      await stage.processed()
      await stage.send(5)
      await stage.processed()
      await inject()
      try {
        await stage.send(20)
        const said = await running.said(says[0]!)
        for (const pattern of says) assert.match(said, pattern)
      } finally {
        await mend()
      }
      await stage.assertUndisturbed()
      assert.equal(running.failure, null)
    })
  }
})
