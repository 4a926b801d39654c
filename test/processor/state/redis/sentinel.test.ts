import assert from 'node:assert/strict'
import { startSentinel, type SentinelServers } from '../../../../deploy/stack/servers.ts'
import type { RedisState } from '../../../../processor/state/redis/redis-state.ts'
import { ownServer } from '../../../support/servers.ts'
import { cli, freshTask, openState, OWNER, read, rows, writeAt } from './support.ts'

describe('state behind Sentinel', () => {
  let servers: SentinelServers
  let state: RedisState
  const said: string[] = []

  before(async function () {
    servers = await ownServer(this, () => startSentinel())
    state = await openState(servers.env.REDIS_URL, { report: (message) => said.push(message) })
  })
  after(async () => {
    await state.close()
    await servers.stop()
  })

  it('notices that a failover took it back to an older copy, between two calls, and goes on from there', async () => {
    const [master, replica] = servers.nodes.map(({ port }) => `redis://127.0.0.1:${port}`) as [string, string]
    const task = await freshTask(state)
    await task.apply(writeAt(0, { records: [rows({ a: 'replicated' })] }))
    assert.equal(cli(master, 'WAIT', '1', '60000'), '1')

    // The replica loses its master, and falls behind: from here on nothing reaches it.
    cli(replica, 'CONFIG', 'SET', 'masterauth', 'nonsense')
    cli(master, 'CLIENT', 'KILL', 'TYPE', 'replica')
    await task.apply(writeAt(1, { records: [rows({ a: 'on the master alone' })] }))
    assert.equal(cli(master, 'WAIT', '1', '200'), '0')

    await servers.nodes[0]!.server.kill()
    await assert.rejects(
      untilAnswered(() => read(task, 'a')),
      { code: 'STATE_LOST', message: /0\/1, and ours 0\/2: Redis went back/ },
    )
    await assert.rejects(task.apply(writeAt(2, { records: [rows({ b: '1' })] })), { code: 'STATE_LOST' })

    const next = await state.takeOver('t_0', { ...OWNER, token: 11 })
    assert.deepEqual(next.found!.meta.checkpoint, { changelog: 0, windows: 1 })
    await next.apply(writeAt(1, { records: [rows({ a: 'again' })] }))
    assert.deepEqual(await read(next, 'a'), ['again'])
    assert.ok(
      said.some((message) => message.includes('cannot be reached')),
      said.join('\n'),
    )
    assert.match(said.at(-1)!, /answers again/)
  })
})

async function untilAnswered<T>(action: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await action()
    } catch (error) {
      if ((error as { code?: string }).code !== 'STATE_UNAVAILABLE') throw error
    }
  }
}
