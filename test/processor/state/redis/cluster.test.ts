import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { systemClock } from '../../../../config/clock.ts'
import { startRedisCluster, type RedisServers } from '../../../../deploy/stack/servers.ts'
import { segmentPrefix } from '../../../../processor/state/keys.ts'
import { checkRedis } from '../../../../processor/state/redis/doctor.ts'
import { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { stateContract } from '../../../contract/state.ts'
import { ownServer } from '../../../support/servers.ts'
import { cli, freshTask, many, openState, OWNER, read, rows, STORE, writeAt } from './support.ts'

describe('state in a Redis Cluster', () => {
  let servers: RedisServers

  before(async function () {
    servers = await ownServer(this, () => startRedisCluster())
  })
  after(() => servers.stop())

  stateContract('in a Redis Cluster', { durable: true }, async () => {
    const application = `contract-${randomBytes(4).toString('hex')}`
    const open = (): Promise<RedisState> =>
      RedisState.open({ url: servers.env.REDIS_URL, application, clock: systemClock })
    let state = await open()
    return {
      state,
      reopen: async () => {
        await state.close()
        return (state = await open())
      },
      close: () => state.close(),
    }
  })

  it('keeps a task in one slot, and spreads tasks over the nodes', async () => {
    const state = await openState(servers.env.REDIS_URL)
    try {
      for (let i = 0; i < 30; i++) {
        const task = await freshTask(state, OWNER, `t_${i}`)
        await task.apply(writeAt(0, { records: [rows({ a: String(i) })] }))
      }
      for (const { port } of servers.nodes) {
        assert.notEqual(cli(`redis://127.0.0.1:${port}`, 'DBSIZE'), '0')
      }
    } finally {
      await state.close()
    }
  })

  it('follows its slot while it moves to another node, and after', async () => {
    const application = `moved-${randomBytes(4).toString('hex')}`
    const state = await openState(servers.env.REDIS_URL, { application })
    try {
      const task = await freshTask(state)
      await task.apply(writeAt(0, { records: [rows(many(9_000, 'x')), rows({ a: '1' })] }))
      const move = slotMove(servers, `{${application}.t_0}:meta`)

      // All its keys are there, the slot is not yet: answered by ASK, to a node that has no scripts of ours.
      move.begin()
      move.keys()
      assert.deepEqual(await read(task, 'a', 'k8999'), ['1', 'x'])
      await task.apply(writeAt(1, { records: [rows(many(9_000, 'y'))] }))

      // Now by MOVED.
      move.end()
      assert.deepEqual(await read(task, 'a', 'k8999'), ['1', 'y'])
      await task.apply(writeAt(2, { records: [rows({ a: '2' })] }))
      const next = await state.takeOver('t_0', { ...OWNER, token: 11 })
      assert.deepEqual(await read(next, 'a'), ['2'])
    } finally {
      await state.close()
    }
  })

  it('is unavailable, and loses nothing, while a part of its keys is on another node', async () => {
    const application = `half-${randomBytes(4).toString('hex')}`
    const state = await openState(servers.env.REDIS_URL, { application, timeoutMs: 5_000 })
    try {
      const task = await freshTask(state)
      await task.apply(writeAt(0, { records: [rows({ a: '1' }, 0), rows({ b: '1' }, 1_000)] }))
      const move = slotMove(servers, `{${application}.t_0}:meta`)
      move.begin()
      move.keys(2)
      await assert.rejects(read(task, 'a'), {
        code: 'STATE_UNAVAILABLE',
        message: /moving the keys of this slot/,
      })
      await assert.rejects(task.apply(writeAt(1, { records: [rows({ a: '2' }, 0)] })), {
        code: 'STATE_UNAVAILABLE',
      })
      move.keys()
      move.end()
      assert.deepEqual(await read(task, 'a'), ['1'])
      await task.apply(writeAt(1, { records: [rows({ a: '2' }, 0)] }))
      assert.deepEqual(await read(task, 'a'), ['2'])
    } finally {
      await state.close()
    }
  })

  it('leaves out nothing of a scan whose slot moves in the middle of it', async () => {
    const application = `scanned-${randomBytes(4).toString('hex')}`
    const state = await openState(servers.env.REDIS_URL, { application })
    try {
      const task = await freshTask(state)
      await task.apply(writeAt(0, { records: [rows(many(9_000, 'x'))] }))
      const move = slotMove(servers, `{${application}.t_0}:meta`)
      let isMoved = false
      await assert.rejects(
        async () => {
          for await (const _ of task.scan(segmentPrefix(STORE, 0))) {
            if (isMoved) continue
            isMoved = true
            move.begin()
            move.keys()
            move.end()
          }
        },
        { code: 'STATE_LOST', message: /during a scan/ },
      )
    } finally {
      await state.close()
    }
  })

  it('refuses a user that the cluster does not know', async () => {
    const url = servers.env.REDIS_URL.replace('redis://', 'redis://somebody:secret@')
    await assert.rejects(openState(url, { timeoutMs: 5_000 }), {
      code: 'STATE_UNAVAILABLE',
      message: /refuses the user or the password/,
    })
  })

  it('is looked at by the doctor node by node', async () => {
    const findings = await checkRedis({ url: servers.env.REDIS_URL, application: 'x' })
    assert.ok(
      findings.every(({ ok }) => ok),
      JSON.stringify(findings),
    )
    for (const { port } of servers.nodes) assert.ok(findings.some(({ what }) => what.includes(`:${port}`)))
  })

  it('is unavailable while a slot has no node, and says so', async () => {
    const state = await openState(servers.env.REDIS_URL, { application: 'down', timeoutMs: 3_000 })
    try {
      const task = await freshTask(state)
      const { owner } = slotMove(servers, '{down.t_0}:meta')
      const node = servers.nodes.find(({ port }) => port === owner)!
      await node.server.kill()
      await assert.rejects(read(task, 'a'), { code: 'STATE_UNAVAILABLE' })
      await node.server.start()
      await assert.rejects(
        async () => {
          for (;;) {
            await read(task, 'a').catch((error: unknown) => {
              if ((error as { code?: string }).code !== 'STATE_UNAVAILABLE') throw error
            })
          }
        },
        { code: 'STATE_LOST', message: /gone from Redis/ },
      )
    } finally {
      await state.close()
    }
  })
})

/** The steps in which `redis-cli --cluster reshard` moves a slot. */
function slotMove(
  servers: RedisServers,
  key: string,
): { owner: number; begin: () => void; keys: (atMost?: number) => void; end: () => void } {
  const on = (port: number, ...args: string[]): string => cli(`redis://127.0.0.1:${port}`, ...args)
  const ports = servers.nodes.map(({ port }) => port)
  const slot = on(ports[0]!, 'CLUSTER', 'KEYSLOT', key)
  const isOwner = (port: number): boolean => on(port, 'CLUSTER', 'COUNTKEYSINSLOT', slot) !== '0'
  const from = ports.find(isOwner)!
  const to = ports.find((port) => port !== from)!
  const [fromId, toId] = [from, to].map((port) => on(port, 'CLUSTER', 'MYID')) as [string, string]
  return {
    owner: from,
    begin: () => {
      on(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
      on(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
    },
    keys: (atMost = 100) => {
      const names = on(from, 'CLUSTER', 'GETKEYSINSLOT', slot, String(atMost)).split('\n')
      on(from, 'MIGRATE', '127.0.0.1', String(to), '', '0', '5000', 'KEYS', ...names)
    },
    end: () => {
      for (const port of [to, from]) on(port, 'CLUSTER', 'SETSLOT', slot, 'NODE', toId)
    },
  }
}
