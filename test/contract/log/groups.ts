import assert from 'node:assert/strict'
import type { GroupMetadata, TopicPartition } from '../../../log/port.ts'
import { partitionsOf } from '../../../log/partitions.ts'
import {
  append,
  batchOf,
  fresh,
  type LogUnderTest,
  makeTopic,
  nameOf,
  PLENTY,
  producerOf,
  rejectsWith,
  TestMember,
} from './support.ts'
import { until } from '../../support/until.ts'

export function offsetTests(use: () => LogUnderTest): void {
  let member: TestMember
  let topic: string
  let groupId: string

  beforeEach(async () => {
    topic = await makeTopic(use().log, 2)
    groupId = fresh('group')
    member = new TestMember(use().log, groupId, [[topic]]).start()
    await until(() => member.assigned.length === 2, 'an assignment')
  })
  afterEach(() => member.close())

  const at = (
    partition: number,
    offset: number,
    metadata = '',
  ): TopicPartition & { offset: number; metadata: string } => ({
    topic,
    partition,
    offset,
    metadata,
  })

  it('are committed with the transaction that they were sent in, metadata included, or not at all', async () => {
    const { log } = use()
    const producer = await producerOf(log)
    const partitions = partitionsOf(topic, 2)
    assert.deepEqual(await member.consumer.committed(partitions), [null, null])
    producer.begin()
    await producer.send([batchOf(topic, 0, ['a'])])
    await producer.sendOffsets([at(0, 7, 'unresolved'), at(1, 8)], member.group!)
    await producer.abort()
    assert.deepEqual(await member.consumer.committed(partitions), [null, null])
    producer.begin()
    await producer.sendOffsets([at(0, 7, 'unresolved'), at(1, 8)], member.group!)
    await producer.sendOffsets([at(1, 9)], member.group!)
    await producer.commit()
    assert.deepEqual(await member.consumer.committed(partitions), [at(0, 7, 'unresolved'), at(1, 9)])
    assert.deepEqual(await log.admin.groupOffsets(groupId, partitions), [at(0, 7, 'unresolved'), at(1, 9)])
    assert.deepEqual(await log.admin.groupOffsets(fresh('other'), partitions), [null, null])
  })

  it('are waited for while a transaction holds them open, others are not', async () => {
    const { log } = use()
    const producer = await producerOf(log)
    for (const decision of ['commit', 'abort'] as const) {
      await member.consumer.commitOffsets([at(0, 1), at(1, 2)], member.group!)
      producer.begin()
      await producer.sendOffsets([at(0, 3)], member.group!)
      let isKnown = false
      const waiting = member.consumer.committed([{ topic, partition: 0 }]).then((committed) => {
        isKnown = true
        return committed
      })
      assert.deepEqual(await member.consumer.committed([{ topic, partition: 1 }]), [at(1, 2)])
      assert.deepEqual(await log.admin.groupOffsets(groupId, [{ topic, partition: 0 }]), [at(0, 1)])
      assert.equal(isKnown, false)
      await producer[decision]()
      assert.deepEqual(await waiting, [at(0, decision === 'commit' ? 3 : 1)])
    }
  })

  it('are released when the transaction that holds them is fenced', async () => {
    const { log } = use()
    const id = fresh('id')
    const zombie = await producerOf(log, id)
    zombie.begin()
    await zombie.sendOffsets([at(0, 3)], member.group!)
    await producerOf(log, id)
    assert.deepEqual(await member.consumer.committed([{ topic, partition: 0 }]), [null])
    await rejectsWith('FENCED', () => zombie.commit())
  })

  it('of another generation or of a stranger are refused, in a transaction and outside', async () => {
    const { log } = use()
    const producer = await producerOf(log)
    const group = member.group!
    const wrong: GroupMetadata[] = [
      { ...group, generation: group.generation - 1 },
      { ...group, generation: group.generation + 1 },
      { ...group, memberId: 'a-stranger' },
    ]
    for (const metadata of wrong) {
      await rejectsWith('STALE_GENERATION', () => member.consumer.commitOffsets([at(0, 1)], metadata))
      const discarded = await producerOf(log)
      discarded.begin()
      await rejectsWith('STALE_GENERATION', () => discarded.sendOffsets([at(0, 1)], metadata))
      await discarded.close()
    }
    producer.begin()
    await producer.sendOffsets([at(0, 2)], group)
    await producer.commit()
    assert.deepEqual(await member.consumer.committed([{ topic, partition: 0 }]), [at(0, 2)])
  })

  it('that were accepted go through with their transaction, though the group moves on in between', async () => {
    const { log } = use()
    const producer = await producerOf(log)
    const old = member.group!
    producer.begin()
    await producer.sendOffsets([at(0, 0, 'accepted')], old)
    // Its start cannot be awaited in onAssign: that waits for the transaction, as it must.
    const other = new TestMember(log, groupId, [[topic]]).start()
    await until(() => member.events.filter((event) => event === 'assign').length === 2, 'a rebalance')
    await producer.commit()
    await until(() => other.assigned.length === 1 && member.assigned.length === 1, 'both to be open')
    assert.deepEqual(await member.consumer.committed([{ topic, partition: 0 }]), [at(0, 0, 'accepted')])
    await rejectsWith('STALE_GENERATION', () => member.consumer.commitOffsets([at(0, 0)], old))
    await other.close()
  })
}

export function groupTests(use: () => LogUnderTest): void {
  it('is described with who is in it, what each has, and who waits for whom', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 2)
    const groupId = fresh('group')
    assert.deepEqual(await log.admin.describeGroups([groupId]), [{ groupId, state: 'empty', members: [] }])
    const member = new TestMember(log, groupId, [[topic]], { cohort: 'a' }).start()
    await until(() => member.assigned.length === 2, 'the assignment')
    const waiting = new TestMember(log, groupId, [[topic]], { cohort: 'b' }).start()
    await until(() => waiting.events.includes('wait for a') && member.assigned.length === 2, 'it to wait')
    const [described] = await log.admin.describeGroups([groupId])
    assert.equal(described!.state, 'stable')
    const found = described!.members.map(({ memberId, cohort, partitions, waitsFor }) => ({
      isMember: memberId === member.group!.memberId,
      cohort,
      partitions: partitions.map(nameOf).sort(),
      waitsFor,
    }))
    assert.deepEqual(
      found.sort((a, b) => (a.cohort < b.cohort ? -1 : 1)),
      [
        { isMember: true, cohort: 'a', partitions: partitionsOf(topic, 2).map(nameOf), waitsFor: null },
        { isMember: false, cohort: 'b', partitions: [], waitsFor: 'a' },
      ],
    )
    await waiting.close()
    await member.close()
    const [left] = await log.admin.describeGroups([groupId])
    assert.deepEqual(left!.members, [])
  })

  it('a member alone gets every partition, and its generation with them', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 3)
    const member = new TestMember(log, fresh('group'), [[topic]]).start()
    await until(() => member.assigned.length === 3, 'the assignment')
    assert.deepEqual(member.events, ['assign'])
    assert(member.group!.generation > 0)
    await member.close()
    assert.deepEqual(member.events, ['assign', 'revoke'])
  })

  it('two and three members share the partitions out evenly, each with one of them', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 6)
    const groupId = fresh('group')
    const members: TestMember[] = []
    for (let count = 1; count <= 3; count++) {
      members.push(new TestMember(log, groupId, [[topic]]).start())
      await until(
        () => members.every(({ assigned }) => assigned.length === 6 / count),
        `${count} equal shares`,
      )
      const all = members.flatMap(({ names }) => names).sort()
      assert.deepEqual(all, partitionsOf(topic, 6).map(nameOf))
      assert.equal(new Set(members.map(({ group }) => group!.generation)).size, 1)
      assert.equal(new Set(members.map(({ group }) => group!.memberId)).size, count)
    }
    await Promise.all(members.map((member) => member.close()))
  })

  it('equal numbers of topics that belong together are with one member', async () => {
    const { log } = use()
    const [left, right, alone] = [await makeTopic(log, 4), await makeTopic(log, 4), await makeTopic(log, 4)]
    const topics = [[left, right], [alone]]
    const groupId = fresh('group')
    const members = [0, 1, 2].map(() => new TestMember(log, groupId, topics).start())
    const count = (): number => members.reduce((sum, { assigned }) => sum + assigned.length, 0)
    const settled = (): boolean =>
      count() === 12 &&
      members.every(
        ({ assigned, group }) => assigned.length > 0 && group!.generation === members[0]!.group!.generation,
      )
    await until(settled, 'all to be assigned')
    for (const { assigned } of members) {
      const numbers = (topic: string): number[] =>
        assigned
          .filter((p) => p.topic === topic)
          .map((p) => p.partition)
          .sort()
      assert.deepEqual(numbers(left), numbers(right))
    }
    await Promise.all(members.map((member) => member.close()))
  })

  it('what a member finishes in onRevoke is accepted, and seen by the next owner before it starts', async () => {
    const { log } = use()
    const [source, target] = [await makeTopic(log, 4), await makeTopic(log, 1)]
    const groupId = fresh('group')
    const producer = await producerOf(log)
    const order: string[] = []
    const first = new TestMember(log, groupId, [[source]], {
      onRevoke: async (member, partitions) => {
        order.push('revoking')
        producer.begin()
        await producer.send([batchOf(target, 0, ['finished'])])
        const offsets = partitions.map((p) => ({ ...p, offset: 10 + p.partition, metadata: '' }))
        await producer.sendOffsets(offsets, member.group!)
        await new Promise((resolve) => setTimeout(resolve, 30))
        await producer.commit()
        order.push('revoked')
      },
    }).start()
    await until(() => first.assigned.length === 4, 'the first to own all')
    for (let i = 0; i < 4; i++)
      await append(
        log,
        source,
        i,
        Array.from({ length: 20 }, () => `record ${i}`),
      )
    const second = new TestMember(log, groupId, [[source]], {
      onAssign: async () => {
        order.push('second assigned')
      },
    }).start()
    await until(() => second.assigned.length === 2, 'the second to own half')
    assert.deepEqual(order, ['revoking', 'revoked', 'second assigned'])
    for (const { partition, topic } of second.assigned) {
      const [committed] = await second.consumer.committed([{ topic, partition }])
      assert.equal(committed!.offset, 10 + partition)
    }
    await second.close()
    await first.close()
  })

  it('a partition is with one member at a time, and no record is missed or handled twice, through joins and leaves', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 4)
    const groupId = fresh('group')
    const owners = new Map<string, TestMember>()
    const handled: string[] = []
    const options = {
      onAssign: async (member: TestMember, partitions: readonly TopicPartition[]) => {
        for (const partition of partitions) {
          assert.equal(owners.get(nameOf(partition)), undefined, `${nameOf(partition)} has an owner`)
          owners.set(nameOf(partition), member)
        }
      },
      onRevoke: async (member: TestMember, partitions: readonly TopicPartition[]) => {
        await member.commit(partitions)
        handled.push(...member.seen.splice(0))
        for (const partition of partitions) {
          assert.equal(owners.get(nameOf(partition)), member)
          owners.delete(nameOf(partition))
        }
      },
    }
    const members = new Set<TestMember>()
    let sent = 0
    for (const change of ['join', 'join', 'leave', 'join', 'join', 'leave', 'leave'] as const) {
      if (change === 'join') members.add(new TestMember(log, groupId, [[topic]], options).start())
      for (let i = 0; i < 25; i++) await append(log, topic, i % 4, [`record ${sent++}`])
      if (change === 'leave') {
        const [leaver] = members
        members.delete(leaver!)
        await leaver!.close()
      }
    }
    const seen = (): number =>
      handled.length + [...members].reduce((sum, member) => sum + member.seen.length, 0)
    await until(() => seen() >= sent, 'every record to be seen')
    await Promise.all([...members].map((member) => member.close()))
    assert.deepEqual(handled.sort(), Array.from({ length: sent }, (_, i) => `record ${i}`).sort())
  })

  it('who closes hands over at once, without anybody waiting for a session to end', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 4)
    const groupId = fresh('group')
    const sessionTimeoutMs = 60_000
    const [leaver, stayer] = [0, 1].map(() =>
      new TestMember(log, groupId, [[topic]], { sessionTimeoutMs }).start(),
    )
    await until(() => leaver!.assigned.length === 2 && stayer!.assigned.length === 2, 'two equal shares')
    const startMs = Date.now()
    await leaver!.close()
    await until(() => stayer!.assigned.length === 4, 'the hand-over')
    assert(Date.now() - startMs < sessionTimeoutMs / 2)
    assert.equal(leaver!.events.at(-1), 'revoke')
    await rejectsWith('STALE_GENERATION', () =>
      stayer!.consumer.commitOffsets([{ topic, partition: 0, offset: 1, metadata: '' }], leaver!.group!),
    )
    await stayer!.close()
  })

  it('who stays keeps what it had, as far as fairness allows', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 6)
    const groupId = fresh('group')
    const [a, b] = [0, 1].map(() => new TestMember(log, groupId, [[topic]]).start())
    await until(() => a!.assigned.length === 3 && b!.assigned.length === 3, 'two equal shares')
    const [hadA, hadB] = [a!.names, b!.names]
    const c = new TestMember(log, groupId, [[topic]]).start()
    await until(() => [a, b, c].every((member) => member!.assigned.length === 2), 'three equal shares')
    assert(a!.names.every((name) => hadA.includes(name)))
    assert(b!.names.every((name) => hadB.includes(name)))
    await Promise.all([a, b, c].map((member) => member!.close()))
  })

  it('members of another cohort wait, are told for whom, and take over when its last one has left', async () => {
    const { log } = use()
    const topic = await makeTopic(log, 4)
    const groupId = fresh('group')
    const join = (cohort: string): TestMember => new TestMember(log, groupId, [[topic]], { cohort }).start()
    const all = (members: TestMember[], each: number): boolean =>
      members.every(({ assigned }) => assigned.length === each)
    const old = [join('v2')]
    await until(() => all(old, 4), 'the first to own all')
    // More, and first by name: who has the partitions keeps them all the same.
    const next = [join('v1'), join('v1')]
    await until(() => next.every(({ events }) => events.includes('wait for v2')), 'the others to wait')
    old.push(join('v2'))
    await until(() => all(old, 2) && all(next, 0), 'halves among those that run')
    await old.shift()!.close()
    await until(() => all(old, 4) && all(next, 0), 'the last one to have all')
    const waits = next.map(({ events }) => events.filter((event) => event.startsWith('wait')))
    assert.deepEqual(waits, [['wait for v2'], ['wait for v2']], 'each was told once')
    await old[0]!.close()
    await until(() => all(next, 2), 'the others to take over')
    const late = join('v2')
    await until(() => late.events.includes('wait for v1'), 'who comes back to wait')
    await Promise.all([...next, late].map((member) => member.close()))
  })

  it("an error in a callback is the poll's, and the next poll joins anew", async () => {
    const { log } = use()
    const topic = await makeTopic(log, 1)
    const events: string[] = []
    const consumer = log.groupConsumer({
      groupId: fresh('group'),
      topics: [[topic]],
      onRevoke: async () => void events.push('revoke'),
      onAssign: async (_, { generation }) => {
        events.push(`assign ${generation}`)
        if (events.length === 1) throw new Error('cannot open')
      },
    })
    await assert.rejects(async () => {
      for (;;) await consumer.poll(PLENTY, 50)
    }, /cannot open/)
    while (events.length < 3) await consumer.poll(PLENTY, 50)
    assert.equal(events[1], 'revoke')
    assert.notEqual(events[2], events[0])
    await consumer.close()
  })

  it('a topic that is not there is an error', async () => {
    const { log } = use()
    const member = new TestMember(log, fresh('group'), [[fresh('none')]])
    await rejectsWith('UNKNOWN_TOPIC', () => member.consumer.poll(PLENTY, 10_000))
    await member.consumer.close()
  })
}
