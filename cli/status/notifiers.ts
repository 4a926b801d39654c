/** How far people have been told, as it is recorded where the notices are (docs/alerts.md). */
import { partitionsOf, type PartitionCounts } from '../../log/partitions.ts'
import type { Log, TopicPartition } from '../../log/port.ts'
import { noticesTopic, type Plan } from '../../processor/topology/plan.ts'
import { CHANNELS, notifierName } from '../../sinks/notify/channel.ts'
import { recordedIn, type Recorded } from '../../sinks/notify/record.ts'
import { sinkGroupId } from '../../sinks/runner.ts'

export interface NotifierStatus {
  /** `process-order-alerts.webhook`; without a channel: what logs the alerts. */
  readonly notifier: string
  readonly topic: string
  /** Processes that share its topic out. */
  readonly members: number
  /** Offsets that are dealt with, of all partitions together; null: none is recorded. */
  readonly recorded: number | null
  readonly end: number
  readonly lag: number
  /** Runs of which the last is still to be sent; null: it tells of each row. */
  readonly openRuns: number | null
}

/**
 * Reads only. Those that have never run are left out: whether they are to run is said by another environment.
 * @param counts of the sinks' topics and the notices
 */
export async function notifiersOf(log: Log, plan: Plan, counts: PartitionCounts): Promise<NotifierStatus[]> {
  const candidates = plan.sinks.flatMap(({ node: { destination }, topic }) => {
    if (destination.kind !== 'topic' || destination.notify === null) return []
    return [
      { notifier: notifierName(destination.name), topic, isRecorded: false },
      ...CHANNELS.map((channel) => {
        return { notifier: notifierName(destination.name, channel), topic, isRecorded: true }
      }),
    ]
  })
  if (candidates.length === 0) return []
  const notices = noticesTopic(plan.application)
  const records = counts.get(notices) === 0 ? [] : await recordedIn(log, notices)
  const groups = await log.admin.describeGroups(
    candidates.map(({ notifier }) => sinkGroupId(plan.application, notifier)),
  )
  const statuses = await Promise.all(
    candidates.map(({ notifier, topic, isRecorded }, i) =>
      statusOf(log, {
        notifier,
        topic,
        group: groups[i]!,
        partitions: partitionsOf(topic, counts.get(topic)!),
        records: isRecorded ? records.filter((one) => one.destination === notifier) : null,
      }),
    ),
  )
  return statuses.filter(({ members, recorded }) => members > 0 || recorded !== null)
}

interface NotifierParts {
  readonly notifier: string
  readonly topic: string
  readonly group: { readonly groupId: string; readonly members: readonly unknown[] }
  readonly partitions: readonly TopicPartition[]
  /** null: it keeps none, and its group's offsets are all that there is. */
  readonly records: readonly Recorded[] | null
}

async function statusOf(log: Log, parts: NotifierParts): Promise<NotifierStatus> {
  const { notifier, topic, group, partitions, records } = parts
  // Ends first: what is written meanwhile counts next time.
  const ranges = await log.admin.offsets(partitions)
  const committed = await log.admin.groupOffsets(group.groupId, partitions)
  let [recorded, end, lag]: [number | null, number, number] = [null, 0, 0]
  for (const [i, range] of ranges.entries()) {
    const record = records?.find((one) => one.topic === topic && one.partition === i)
    const next = (records === null ? committed[i]?.offset : record?.next) ?? null
    if (next !== null) recorded = (recorded ?? 0) + next
    // Behind the last row may be marks, which only the group's offset passes.
    const position = Math.max(next ?? 0, committed[i]?.offset ?? 0, range.start)
    end += range.end
    lag += Math.max(0, range.stable - position)
  }
  return {
    notifier,
    topic,
    members: group.members.length,
    recorded,
    end,
    lag,
    openRuns: records === null ? null : records.reduce((sum, { openRuns }) => sum + openRuns, 0),
  }
}
