import assert from 'node:assert/strict'
import { segmentPrefix } from '../../../../processor/state/keys.ts'
import type { StateWrite } from '../../../../processor/state/port.ts'
import { unlinkIncarnationScript } from '../../../../processor/state/redis/scripts.ts'
import type { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { startRedis, type RedisServers } from '../../../../deploy/stack/servers.ts'
import { ownServer } from '../../../support/servers.ts'
import {
  cli,
  freshTask,
  goBackToCopy,
  keepCopy,
  lost,
  many,
  openState,
  OWNER,
  read,
  rows,
  STORE,
  writeAt,
} from './support.ts'

const APPLICATION = 'lossy'

describe('state that Redis loses or takes back', () => {
  let servers: RedisServers
  let url: string
  let state: RedisState

  before(async function () {
    servers = await ownServer(this, () => startRedis())
    url = servers.env.REDIS_URL
  })
  after(() => servers.stop())

  beforeEach(async () => {
    cli(url, 'FLUSHALL')
    state = await openState(url, { application: APPLICATION })
  })
  afterEach(() => state.close())

  /** A write of several chunks, before the last of which something happens. */
  function writeWith(happens: () => void, from = 0): StateWrite {
    const later = segmentPrefix(STORE, 1_000)
    return writeAt(from, {
      records: [rows(many(20_000, 'new')), rows({ last: 'new' }, 1_000)],
      skip: (segment) => {
        if (segment.equals(later)) happens()
        return false
      },
    })
  }

  it('is noticed by the next read when it is flushed between two reads', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    assert.deepEqual(await read(task, 'a'), ['1'])
    cli(url, 'FLUSHALL')
    await assert.rejects(read(task, 'a'), { ...lost, message: /t_0.*gone from Redis/ })
    assert.equal(state.stats().lost, 1)
  })

  it('is noticed by the rest of a write when it is flushed between two chunks', async () => {
    const task = await freshTask(state)
    await assert.rejects(task.apply(writeWith(() => cli(url, 'FLUSHALL'))), lost)
    assert.equal(cli(url, 'DBSIZE'), '0', 'nothing was written into the emptied server')
  })

  it('is noticed by the rest of a scan when it is flushed in the middle', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows(many(20_000, 'x'))] }))
    await assert.rejects(async () => {
      for await (const _ of task.scan(segmentPrefix(STORE, 0))) cli(url, 'FLUSHALL')
    }, lost)
  })

  it('is noticed by reads, scans and writes when an older checkpoint of the same owner comes back', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    keepCopy(url, APPLICATION)
    await task.apply(writeAt(1, { records: [rows({ a: '2' })] }))
    goBackToCopy(url, APPLICATION)
    await assert.rejects(read(task, 'a'), { ...lost, message: /0\/1, and ours 0\/2: Redis went back/ })
    await assert.rejects(async () => {
      for await (const _ of task.scan(segmentPrefix(STORE, 0)));
    }, lost)
    await assert.rejects(task.apply(writeAt(2, { records: [rows({ b: '1' })] })), lost)
  })

  it('is noticed when the copy that comes back has the same checkpoint, but not the chunks behind it', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    keepCopy(url, APPLICATION)
    await assert.rejects(task.apply(writeWith(() => goBackToCopy(url, APPLICATION), 1)), {
      ...lost,
      message: /lost a part of a write/,
    })
  })

  it('applies a write of many chunks again when the first try broke off', async () => {
    const task = await freshTask(state)
    const broken = writeWith(() => {
      throw new Error('broke off')
    })
    await assert.rejects(task.apply(broken), /broke off/)
    await task.apply(writeWith(() => undefined))
    assert.deepEqual(await read(task, 'k0', 'k19999'), ['new', 'new'])
    assert.equal(cli(url, 'HGET', `{${APPLICATION}.t_0}:meta`, 'part'), '')
  })

  it('is noticed when a copy comes back in which an earlier owner holds it', async () => {
    const first = await freshTask(state)
    await first.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    keepCopy(url, APPLICATION)
    const second = await state.takeOver('t_0', { ...OWNER, token: 11 })
    assert.deepEqual(await read(second, 'a'), ['1'])
    goBackToCopy(url, APPLICATION)
    await assert.rejects(read(second, 'a'), { ...lost, message: /older copy \(token 10, ours 11\)/ })
    const third = await state.takeOver('t_0', { ...OWNER, token: 12 })
    assert.deepEqual(await read(third, 'a'), ['1'])
  })

  it('keeps an incarnation that a failover brought back while it was to be unlinked', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    const prefix = `{${APPLICATION}.t_0}:`
    const incarnation = cli(url, 'HGET', `${prefix}meta`, 'incarnation')
    const keys = [`${prefix}meta`, `${prefix}incarnations`, `${prefix}${incarnation}:segments`]
    const unlink = (): string =>
      cli(url, 'EVAL', unlinkIncarnationScript.source.toString(), '3', ...keys, incarnation)
    assert.equal(unlink(), '0')
    assert.deepEqual(await read(task, 'a'), ['1'])
    // Nor where the meta is gone, which names nothing.
    cli(url, 'UNLINK', `${prefix}meta`)
    assert.equal(unlink(), '0')
  })

  it('unlinks old incarnations with all their segments, also those that another process left behind', async () => {
    const first = await freshTask(state)
    await first.apply(writeAt(0, { records: [rows({ a: '1' }, 0), rows({ b: '1' }, 1_000)] }))
    // A process that died between the switch and the unlinking.
    cli(url, 'SADD', `{${APPLICATION}.t_0}:incarnations`, 'older/1')
    cli(url, 'SADD', `{${APPLICATION}.t_0}:older/1:segments`, `{${APPLICATION}.t_0}:older/1:0003:00`)
    cli(url, 'HSET', `{${APPLICATION}.t_0}:older/1:0003:00`, 'x', '1')
    const second = await state.takeOver('t_0', { ...OWNER, token: 11 })
    await second.newIncarnation(2)
    await state.close()
    assert.deepEqual(cli(url, 'KEYS', '*').split('\n').sort(), [
      `{${APPLICATION}.t_0}:incarnations`,
      `{${APPLICATION}.t_0}:meta`,
    ])
  })

  it('does not let a slow process begin a copy over that of the later owner', async () => {
    const slow = await state.takeOver('t_0', OWNER)
    const task = await freshTask(state, { ...OWNER, token: 11 })
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    await assert.rejects(slow.newIncarnation(3), { ...lost, message: /another process opened/ })
    assert.deepEqual(await read(task, 'a'), ['1'])
  })

  it('says that two clusters share one Redis where they do', async () => {
    const task = await freshTask(state)
    await freshTask(state, { ...OWNER, clusterId: 'staging', token: 1 })
    await assert.rejects(read(task, 'a'), { ...lost, message: /another log.*staging.*key prefix/ })
  })

  it('leaves nothing behind of a segment that was dropped', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1' })] }))
    await task.apply(writeAt(1, { records: [rows({ b: '1' })], dropPrefixes: [segmentPrefix(STORE, 0)] }))
    assert.doesNotMatch(cli(url, 'KEYS', '*'), /:0003:|:segments/)
  })

  it('counts what it wrote, read, dropped and lost', async () => {
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: '1', b: '22', c: null })] }))
    assert.deepEqual(await read(task, 'a', 'b', 'x'), ['1', '22', null])
    await task.apply(writeAt(1, { dropPrefixes: [segmentPrefix(STORE, 0)] }))
    const { entriesWritten, entriesDeleted, applyCalls, segmentsDropped, ...stats } = state.stats()
    assert.deepEqual([entriesWritten, entriesDeleted, applyCalls, segmentsDropped], [2, 1, 2, 1])
    assert.deepEqual([stats.readCalls, stats.keysRead, stats.keysFound, stats.bytesRead], [1, 3, 2, 3])
    assert.deepEqual([stats.connected, stats.lost, stats.unavailable], [1, 0, 0])
    assert.ok(stats.bytesSent > 500 && stats.scriptsLoaded <= 5)
  })
})
