import assert from 'node:assert/strict'
import { createMemoryLog, openLogOn, type EmbeddedLog } from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import type { GroupConsumer, GroupMetadata } from '../../../log/port.ts'
import { ManualClock } from './support.ts'

/** Members driven poll by poll, by hand, with no waits: every order of events can be written down. */
class HandMember {
  readonly consumer: GroupConsumer
  readonly events: string[] = []
  group: GroupMetadata | null = null

  constructor(log: EmbeddedLog, sessionTimeoutMs = 10_000) {
    this.consumer = log.groupConsumer({
      groupId: 'g',
      topics: [['t']],
      sessionTimeoutMs,
      onRevoke: async (partitions) =>
        void this.events.push(`revoke ${partitions.map((p) => p.partition).join(' ')}`),
      onAssign: async (partitions, group) => {
        this.group = group
        this.events.push(`assign ${partitions.map((p) => p.partition).join(' ')}`)
      },
    })
  }

  /** One poll; what happened in it. */
  async poll(): Promise<string[]> {
    await this.consumer.poll(1_000, 0)
    return this.events.splice(0)
  }

  commit(): Promise<void> {
    return this.consumer.commitOffsets([{ topic: 't', partition: 0, offset: 0, metadata: '' }], this.group!)
  }
}

describe('membership of the embedded log', () => {
  let clock: ManualClock
  let log: EmbeddedLog

  beforeEach(async () => {
    clock = new ManualClock()
    log = await createMemoryLog({ clock })
    await log.admin.createTopics([{ name: 't', partitions: 4, cleanup: 'delete', retentionMs: -1 }])
  })
  afterEach(() => log.close())

  it('moves with the polls: who joins waits until the others have given up and come back', async () => {
    const [a, b] = [new HandMember(log), new HandMember(log)]
    assert.deepEqual(await a.poll(), ['assign 0 1 2 3'])
    assert.deepEqual(await a.poll(), [])
    assert.deepEqual(await b.poll(), [])
    await a.commit()
    assert.deepEqual(await b.poll(), [])
    assert.deepEqual(await a.poll(), ['revoke 0 1 2 3', 'assign 0 1'])
    assert.deepEqual(await b.poll(), ['assign 2 3'])
    await a.commit()
  })

  it('accepts the old generation until the new one is formed, and not after', async () => {
    const [a, b, c] = [new HandMember(log), new HandMember(log), new HandMember(log)]
    await a.poll()
    await b.poll()
    await a.poll()
    await b.poll()
    await c.poll()
    const old = a.group!
    assert.deepEqual(await a.poll(), ['revoke 0 1'], 'a has rejoined, b has not')
    await a.commit()
    await b.commit()
    await b.poll()
    assert.deepEqual(a.group, old)
    await assert.rejects(a.commit(), { code: 'STALE_GENERATION' })
    await a.poll()
    assert.equal(a.group.generation, old.generation + 1)
    await a.commit()
  })

  it('ends for who does not poll within the session; the others go on without it', async () => {
    const [a, b] = [new HandMember(log, 5_000), new HandMember(log, 5_000)]
    await a.poll()
    await b.poll()
    await a.poll()
    await b.poll()
    clock.advance(4_000)
    await b.poll()
    clock.advance(1_001)
    assert.deepEqual(await b.poll(), ['revoke 2 3', 'assign 0 1 2 3'])
    await assert.rejects(a.commit(), { code: 'STALE_GENERATION' })
    assert.deepEqual(await a.poll(), ['revoke 0 1'], 'late: it gives up what it had and joins anew')
    await b.poll()
    assert.deepEqual(await a.poll(), ['assign 2 3'])
  })

  it('ends for who is late, also when it is alone', async () => {
    const a = new HandMember(log, 5_000)
    await a.poll()
    const before = a.group!.generation
    clock.advance(5_001)
    assert.deepEqual(await a.poll(), ['revoke 0 1 2 3', 'assign 0 1 2 3'])
    assert(a.group!.generation > before)
  })

  it('does not wait for a member that was lost while the group rebalances', async () => {
    const [a, b, c] = [new HandMember(log, 5_000), new HandMember(log, 5_000), new HandMember(log, 5_000)]
    await a.poll()
    await b.poll()
    await a.poll()
    await b.poll()
    await c.poll()
    await a.poll()
    clock.advance(5_001)
    await a.poll()
    assert.deepEqual(await c.poll(), [], 'all were late')
    clock.advance(1)
    await a.poll()
    await c.poll()
    await a.poll()
    const generation = a.group!.generation
    await c.poll()
    assert.equal(c.group!.generation, generation)
    assert(!b.events.some((event) => event.startsWith('assign')))
  })

  it('has generations that only grow, also after the log was closed and opened', async () => {
    const storage = new MemoryStorage()
    let last = 0
    for (let round = 0; round < 3; round++) {
      const reopened = await openLogOn(storage, { clock }, 0)
      await reopened.admin.createTopics([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
      const member = new HandMember(reopened)
      await member.poll()
      await member.commit()
      assert(member.group!.generation > last)
      last = member.group!.generation
      await reopened.close()
    }
  })

  it('ends with the log: polls that wait are told', async () => {
    const a = new HandMember(log)
    await a.poll()
    const polled = a.consumer.poll(1_000, 60_000)
    await log.close()
    await assert.rejects(polled, { code: 'CLOSED' })
    await a.consumer.close()
    assert.deepEqual(a.events, ['revoke 0 1 2 3'])
  })

  it("lets an empty group's offsets be set by nobody in particular, and a group with members by its members only", async () => {
    const nobody = { groupId: 'g', memberId: '', generation: -1 }
    const a = new HandMember(log)
    const offsets = [{ topic: 't', partition: 0, offset: 3, metadata: 'reset' }]
    await a.consumer.commitOffsets(offsets, nobody)
    assert.deepEqual(await log.admin.groupOffsets('g', [{ topic: 't', partition: 0 }]), offsets)
    await a.poll()
    await assert.rejects(a.consumer.commitOffsets(offsets, nobody), { code: 'STALE_GENERATION' })
  })
})
