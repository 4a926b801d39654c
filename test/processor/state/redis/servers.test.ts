import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis, type RedisOptions, type RedisServers } from '../../../../deploy/stack/servers.ts'
import { checkRedis } from '../../../../processor/state/redis/doctor.ts'
import type { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { ownServer } from '../../../support/servers.ts'
import { cli, freshTask, many, openState, OWNER, read, rows, writeAt } from './support.ts'

const UNAVAILABLE = { name: 'StateError', code: 'STATE_UNAVAILABLE' }
const unavailable = (message: RegExp): object => ({ ...UNAVAILABLE, message })

describe('state in a Redis that has something of its own', () => {
  const running: RedisServers[] = []
  const states: RedisState[] = []

  async function start(test: Mocha.Context, options?: RedisOptions): Promise<RedisServers> {
    const servers = await ownServer(test, () => startRedis(options))
    running.push(servers)
    return servers
  }

  async function open(...args: Parameters<typeof openState>): Promise<RedisState> {
    const state = await openState(...args)
    states.push(state)
    return state
  }

  afterEach(async () => {
    await Promise.all(states.splice(0).map((state) => state.close()))
    await Promise.all(running.splice(0).map((servers) => servers.stop()))
  })

  it('fails soon when it is away, says so once, and goes on when it is back, without its scripts', async function () {
    const servers = await start(this, { settings: { appendonly: 'yes', appendfsync: 'always' } })
    const said: string[] = []
    const state = await open(servers.env.REDIS_URL, {
      timeoutMs: 2_000,
      report: (message) => said.push(message),
    })
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))

    await servers.nodes[0]!.server.kill()
    for (let i = 0; i < 5; i++) {
      const startedAt = performance.now()
      await assert.rejects(
        read(task, 'a'),
        unavailable(/cannot be reached: (.*ECONNREFUSED|the connection broke)/),
      )
      assert.ok(performance.now() - startedAt < 10_000)
    }
    await assert.rejects(task.apply(writeAt(1, { records: [rows({ a: '2' })] })), UNAVAILABLE)
    assert.equal(said.length, 1, said.join('\n'))
    assert.match(said[0]!, /cannot be reached/)
    assert.equal(state.stats().connected, 0)

    await servers.nodes[0]!.server.start()
    const loaded = state.stats().scriptsLoaded
    assert.deepEqual(await untilBack(() => read(task, 'a')), ['1'])
    await task.apply(writeAt(1, { records: [rows({ a: '2' })] }))
    assert.deepEqual(await read(task, 'a'), ['2'])
    assert.ok(state.stats().scriptsLoaded >= loaded + 2, 'the restarted server was given its scripts again')
    assert.equal(said.length, 2)
    assert.match(said[1]!, /answers again/)
  })

  it('fails what was on its way when the connection breaks, and applies it when it is asked again', async function () {
    const servers = await start(this, { settings: { appendonly: 'yes', appendfsync: 'always' } })
    const task = await freshTask(await open(servers.env.REDIS_URL, { timeoutMs: 5_000 }))
    const write = writeAt(0, { records: [rows(many(50_000, 'x'))] })
    const applying = task.apply(write)
    await servers.nodes[0]!.server.kill()
    await assert.rejects(applying, UNAVAILABLE)
    await servers.nodes[0]!.server.start()
    await untilBack(() => task.apply(write))
    assert.deepEqual(await read(task, 'k0', 'k49999'), ['x', 'x'])
  })

  it('gives a server that hangs no longer than its time, and is not confused by what it answers later', async function () {
    const servers = await start(this)
    const task = await freshTask(await open(servers.env.REDIS_URL, { timeoutMs: 2_000 }))
    await task.apply(writeAt(0, { records: [rows({ a: '1', b: '2' })] }))
    servers.nodes[0]!.server.pause()
    const reads = [read(task, 'a'), read(task, 'b')]
    const write = task.apply(writeAt(1, { records: [rows({ a: '3' })] }))
    for (const call of [...reads, write]) await assert.rejects(call, UNAVAILABLE)
    servers.nodes[0]!.server.resume()
    assert.deepEqual(await untilBack(() => read(task, 'b')), ['2'])
    await task.apply(writeAt(1, { records: [rows({ a: '3' })] }))
    assert.deepEqual(await read(task, 'b', 'a'), ['2', '3'])
  })

  it('is refused at the start where nothing listens', async () => {
    await assert.rejects(
      open('redis://127.0.0.1:1', { timeoutMs: 2_000 }),
      unavailable(/127\.0\.0\.1:1.*ECONNREFUSED.*REDIS_URL/),
    )
  })

  it('is refused at the start where no sentinel or no node of a cluster answers', async () => {
    const sentinels = 'redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster'
    await assert.rejects(
      open(sentinels, { timeoutMs: 500 }),
      unavailable(/127\.0\.0\.1:1,127\.0\.0\.1:2\/mymaster.*sentinels are unreachable/),
    )
    await assert.rejects(
      open('redis://127.0.0.1:1,127.0.0.1:2', { timeoutMs: 500 }),
      unavailable(/127\.0\.0\.1:1,127\.0\.0\.1:2\) cannot be reached/),
    )
  })

  it('waits until a restarted server has loaded its data', async function () {
    const servers = await start(this, {
      settings: {
        appendonly: 'yes',
        'key-load-delay': '100000',
        'loading-process-events-interval-bytes': '1024',
      },
    })
    const { REDIS_URL } = servers.env
    const task = await freshTask(await open(REDIS_URL, { timeoutMs: 2_000 }))
    await task.apply(writeAt(0, { records: [rows(many(3_000, 'x'))] }))
    const [{ server }] = servers.nodes as [RedisServers['nodes'][number]]
    await server.stop()
    await server.launch()
    const refused = new Set<string>()
    const value = await untilBack(
      () => read(task, 'k2999'),
      (error) => refused.add(error.message),
    )
    assert.deepEqual(value, ['x'])
    assert.ok(
      [...refused].some((message) => /loading its data/.test(message)),
      [...refused].join('\n'),
    )
  })

  it('says that a key of its own is taken by something else', async function () {
    const { env } = await start(this)
    const state = await open(env.REDIS_URL, { application: 'taken' })
    cli(env.REDIS_URL, 'SET', '{taken.t_0}:meta', 'something else')
    await assert.rejects(
      state.takeOver('t_0', OWNER),
      unavailable(/something else under a key of ours.*key prefix/),
    )
  })

  it('asks for the password, and refuses a wrong one, without repeating it', async function () {
    const { env } = await start(this, { settings: { requirepass: 'right' } })
    const at = env.REDIS_URL.slice('redis://'.length)
    await assert.rejects(open(env.REDIS_URL), unavailable(/wants a password/))
    await assert.rejects(open(`redis://:wr0ng@${at}`), (error: Error) => {
      assert.match(error.message, /refuses the user or the password in REDIS_URL/)
      assert.doesNotMatch(error.message, /wr0ng/)
      return true
    })
    assert.deepEqual(await read(await freshTask(await open(`redis://:right@${at}`)), 'a'), [null])
  })

  it('works for a user who may touch its keys alone, and names what another one lacks', async function () {
    const { env } = await start(this, {
      acl: {
        millrace: 'on >p%40ss ~mill:* +@hash +@set +@scripting +@connection +unlink +info',
        reader: 'on >secret ~mill:* +@read +@scripting +@connection +info',
      },
    })
    const at = env.REDIS_URL.slice('redis://'.length)
    const mine = await open(`redis://millrace:p%2540ss@${at}`, { keyPrefix: 'mill:' })
    const task = await freshTask(mine)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    assert.deepEqual(await read(task, 'a'), ['1'])
    await assert.rejects(
      open(`redis://millrace:p%2540ss@${at}`),
      unavailable(/refuses this user a command or a key/),
    )
    await assert.rejects(open(`redis://reader:secret@${at}`, { keyPrefix: 'mill:' }), unavailable(/\+@hash/))
  })

  it('speaks TLS with an authority of its own, and refuses one that it does not know', async function () {
    const servers = await start(this, { tls: true })
    const ca = await readFile(servers.certificates!.caFile)
    const task = await freshTask(await open(servers.env.REDIS_URL, { tls: { ca } }))
    await task.apply(writeAt(0, { records: [rows(many(10_000, 'x'))] }))
    assert.deepEqual(await read(task, 'k9999'), ['x'])
    await assert.rejects(open(servers.env.REDIS_URL), unavailable(/certificate/))
  })

  it('is refused where the server would evict keys', async function () {
    const { env } = await start(this, { settings: { 'maxmemory-policy': 'allkeys-lru' } })
    await assert.rejects(
      open(env.REDIS_URL),
      unavailable(/evicts keys.*allkeys-lru.*CONFIG SET maxmemory-policy noeviction/),
    )
    cli(env.REDIS_URL, 'CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru')
    await open(env.REDIS_URL)
  })

  it('is refused where the server is a replica, also when it becomes one later', async function () {
    const master = await start(this)
    const replica = await start(this)
    const follow = ['127.0.0.1', new URL(master.env.REDIS_URL).port]
    const task = await freshTask(await open(replica.env.REDIS_URL))
    cli(replica.env.REDIS_URL, 'REPLICAOF', ...follow)
    await assert.rejects(task.apply(writeAt(0, { records: [rows({ a: '1' })] })), unavailable(/is a replica/))
    await assert.rejects(open(replica.env.REDIS_URL), unavailable(/is a replica.*sentinel/))
  })

  it('keeps what it has when memory runs out, and goes on when there is more', async function () {
    const { env } = await start(this)
    const task = await freshTask(await open(env.REDIS_URL))
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    cli(env.REDIS_URL, 'CONFIG', 'SET', 'maxmemory', '1mb')
    const write = writeAt(1, { records: [rows(many(20_000, 'x'.repeat(100)))] })
    await assert.rejects(task.apply(write), unavailable(/out of memory.*maxmemory/))
    assert.deepEqual(await read(task, 'a'), ['1'])
    const [memory] = (await checkRedis({ url: env.REDIS_URL, application: 'x' })).filter(({ ok }) => !ok)
    assert.match(memory!.what, /out of memory/)
    cli(env.REDIS_URL, 'CONFIG', 'SET', 'maxmemory', '0')
    await task.apply(write)
    assert.deepEqual(await read(task, 'a', 'k19999'), ['1', 'x'.repeat(100)])
  })

  it('says it when the server cannot save to its disk', async function () {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-redis-'))
    try {
      const { env, nodes } = await start(this, { dir, settings: { save: '3600 1' } })
      const task = await freshTask(await open(env.REDIS_URL))
      // No file can take the place of a directory.
      await mkdir(join(dir, 'redis.rdb', 'in the way'), { recursive: true })
      cli(env.REDIS_URL, 'BGSAVE')
      while (!cli(env.REDIS_URL, 'INFO', 'persistence').includes('rdb_last_bgsave_status:err'));
      await assert.rejects(
        task.apply(writeAt(0, { records: [rows({ a: '1' })] })),
        unavailable(/cannot save/),
      )
      // It would not end in order without saving.
      await nodes[0]!.server.kill()
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  it('tells the doctor what it found, good and bad', async function () {
    const { env } = await start(this)
    const look = (): ReturnType<typeof checkRedis> => checkRedis({ url: env.REDIS_URL, application: 'x' })
    const good = await look()
    assert.ok(
      good.every(({ ok }) => ok),
      JSON.stringify(good),
    )
    assert.equal(good.length, 5)
    assert.equal(cli(env.REDIS_URL, 'DBSIZE'), '0', 'the look leaves nothing behind')
    cli(env.REDIS_URL, 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random')
    const bad = (await look()).filter(({ ok }) => !ok)
    assert.deepEqual(
      bad.map(({ refused, mend }) => ({ refused, mends: /noeviction/.test(mend!) })),
      [{ refused: true, mends: true }],
    )
    const away = await checkRedis({ url: 'redis://127.0.0.1:1', application: 'x' })
    assert.ok(away.length === 1 && !away[0]!.ok && away[0]!.refused)
  })

  it('gives a copy that is there to the next owner after everything was restarted', async function () {
    const servers = await start(this, { settings: { appendonly: 'yes' } })
    const application = 'restarted'
    const before = await open(servers.env.REDIS_URL, { application })
    const task = await freshTask(before)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })], taskRecord: Buffer.from('record') }))
    await servers.nodes[0]!.server.stop()
    await servers.nodes[0]!.server.start()
    const after = await open(servers.env.REDIS_URL, { application })
    const next = await after.takeOver('t_0', { ...OWNER, token: 11 })
    assert.equal(next.found!.taskRecord!.toString(), 'record')
    assert.deepEqual(await read(next, 'a'), ['1'])
  })
})

/** What a worker does: tries again while Redis is away. */
async function untilBack<T>(action: () => Promise<T>, note?: (error: Error) => void): Promise<T> {
  for (;;) {
    try {
      return await action()
    } catch (error) {
      if ((error as { code?: string }).code !== 'STATE_UNAVAILABLE') throw error
      note?.(error as Error)
    }
  }
}
