import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { fresh, makeTopic, PLENTY, rejectsWith, TestMember } from '../../contract/log/support.ts'
import { sharedKafka } from '../../support/servers.ts'
import { openTestLog } from './support.ts'
import { until } from '../../support/until.ts'

const PARTITIONS = 4
const SESSION_MS = 40_000

describe('a member that does not poll', () => {
  let brokers: string
  before(async function () {
    this.timeout(300_000)
    ;({ brokers } = await sharedKafka(this))
  })

  it('leaves after its time, others take over, and its next poll gives up what it had and joins again', async () => {
    const said: string[] = []
    const log = await openTestLog(brokers)
    const stuckLog = await openTestLog(brokers, {
      sessionTimeoutMs: SESSION_MS,
      maxPollIntervalMs: 2_000,
      report: (message) => said.push(message),
    })
    const topic = await makeTopic(log, PARTITIONS)
    const groupId = fresh('group')
    const stuck = new TestMember(stuckLog, groupId, [[topic]])
    let sinceMs = 0
    const pollStuck = async (): Promise<void> => {
      sinceMs = performance.now()
      await stuck.consumer.poll(PLENTY, 50)
    }
    const other = new TestMember(log, groupId, [[topic]])
    while (stuck.assigned.length < PARTITIONS) await pollStuck()
    const isShared = (): boolean => stuck.assigned.length === 2 && other.assigned.length === 2
    other.start()
    while (!isShared()) await pollStuck()

    const group = stuck.group!
    await until(() => other.assigned.length === PARTITIONS, 'the other to have all')
    const tookMs = performance.now() - sinceMs
    assert(tookMs > 1_900 && tookMs < SESSION_MS / 2, `it took ${tookMs} ms, and a session is ${SESSION_MS}`)
    assert.match(said.join('\n'), new RegExp(`Nobody has polled group ${groupId} for 2000 ms`))
    assert.deepEqual(stuck.events.at(-1), 'assign', 'it knows nothing yet')
    const offsets = [{ topic, partition: stuck.assigned[0]!.partition, offset: 1, metadata: '' }]
    await rejectsWith('STALE_GENERATION', () => stuck.consumer.commitOffsets(offsets, group))

    const assignments = stuck.events.length
    while (!isShared()) await pollStuck()
    assert.deepEqual(stuck.events.slice(assignments, assignments + 2), ['revoke', 'assign'])
    assert.notEqual(stuck.group!.generation, group.generation)
    await Promise.all([stuck.close(), other.close()])
    await Promise.all([log.close(), stuckLog.close()])
  })

  it('does not leave while a callback of its poll takes its time', async () => {
    const log = await openTestLog(brokers, { maxPollIntervalMs: 1_000 })
    const topic = await makeTopic(log)
    const member = new TestMember(log, fresh('group'), [[topic]], { onAssign: () => sleep(2_500) }).start()
    await until(() => member.assigned.length === 1, 'the assignment')
    const [partition] = member.assigned
    await member.consumer.commitOffsets([{ ...partition!, offset: 0, metadata: '' }], member.group!)
    assert.deepEqual(member.events, ['assign'])
    await member.close()
    await log.close()
  })
})
