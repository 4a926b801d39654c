/** How all processes of an application stand, as the log, the state and the tables show it. */
import { partitionCounts, partitionsOf, type PartitionCounts } from '../../log/partitions.ts'
import type { GroupDescription, Log, TopicPartition } from '../../log/port.ts'
import { processGroupId } from '../../processor/runtime/lag.ts'
import { standingOf } from '../../processor/runtime/progress.ts'
import type { StateLook, StateSize } from '../../processor/state/look.ts'
import { topologyHash } from '../../processor/topology/diff.ts'
import { noticesTopic, taskId, type Plan } from '../../processor/topology/plan.ts'
import { sinkGroupId } from '../../sinks/runner.ts'
import { formatIso } from '../output/format.ts'
import type { Role } from '../wire/run.ts'
import { notifiersOf, type NotifierStatus } from './notifiers.ts'

export interface Status {
  readonly application: string
  /** Where the log is. */
  readonly log: string
  /** Of this version of the pipeline. */
  readonly topology: string
  /** Who has the data directory, embedded. */
  readonly holder: { readonly pid: number } | null
  readonly members: readonly MemberStatus[]
  readonly tasks: readonly TaskStatus[]
  readonly sinks: readonly SinkStatus[]
  /** Those that people are told by, as far as they have run. */
  readonly notifiers: readonly NotifierStatus[]
  /** What a person should look at. */
  readonly notes: readonly string[]
}

export interface MemberStatus {
  readonly role: Role
  readonly group: string
  readonly member: string
  /** How the process is named at the log: its role, and its instance where it has one. */
  readonly client: string
  readonly host: string
  readonly topology: string | null
  /** The topology that it waits for. */
  readonly waitsFor: string | null
  /** Its tasks, its sources' partitions, or its table's. */
  readonly has: readonly string[]
}

export interface TaskStatus {
  readonly task: string
  readonly topic: string
  readonly partition: number
  /** null: nothing yet. */
  readonly committed: number | null
  readonly end: number
  readonly lag: number
  readonly watermark: string | null
  /** The member that has it. */
  readonly member: string | null
  readonly state: TaskStateStatus | null
}

export interface TaskStateStatus {
  readonly incarnation: string | null
  readonly token: number
  /** The next offset of its changelog to apply. */
  readonly changelogOffset: number
  readonly topology: string | null
  readonly size: StateSize | null
}

export interface SinkStatus {
  readonly table: string
  readonly topic: string
  readonly members: number
  readonly lag: number
  /** null: the tables are elsewhere. */
  readonly rows: number | null
}

export interface StatusParts {
  readonly log: Log
  readonly description: string
  readonly plan: Plan
  readonly holder: { readonly pid: number } | null
  lookAtState(tasks: readonly string[]): Promise<(StateLook | null)[]>
  /** By table; null: they are elsewhere. */
  rows(): Promise<ReadonlyMap<string, number> | null>
}

/** Reads only. */
export async function statusOf(parts: StatusParts): Promise<Status> {
  const { log, plan, description, holder } = parts
  const topology = topologyHash(plan)
  const tables = [
    ...plan.sinks.map(({ topic, table }) => ({ topic, table: table.name })),
    { topic: plan.deadLetterTopic, table: 'dead_letters' },
  ]
  const groups = {
    bridge: `${plan.application}-sources`,
    process: processGroupId(plan.application),
    sinks: tables.map(({ table }) => sinkGroupId(plan.application, table)),
  }
  const [bridge, process, ...sinkGroups] = await log.admin.describeGroups([
    groups.bridge,
    groups.process,
    ...groups.sinks,
  ])
  const members = [
    ...membersOf('bridge', bridge!, plan),
    ...membersOf('process', process!, plan),
    ...sinkGroups.flatMap((group) => membersOf('sink', group, plan)),
  ]
  const notices = noticesTopic(plan.application)
  const topics = [
    ...plan.subTopologies.map(({ inputTopic }) => inputTopic),
    ...tables.map(({ topic }) => topic),
    ...plan.topics.map(({ name }) => name).filter((name) => name === notices),
  ]
  const counts = await partitionCounts(log, topics)
  const tasks = await tasksOf(parts, process!, counts)
  const rows = await parts.rows()
  const sinks = await Promise.all(
    tables.map(async ({ topic, table }, i): Promise<SinkStatus> => ({
      table,
      topic,
      members: sinkGroups[i]!.members.length,
      lag: (await positions(log, groups.sinks[i]!, partitionsOf(topic, counts.get(topic)!), counts)).reduce(
        (sum, { lag }) => sum + lag,
        0,
      ),
      rows: rows?.get(table) ?? null,
    })),
  )
  return {
    application: plan.application,
    log: description,
    topology,
    holder,
    members,
    tasks,
    sinks,
    notifiers: await notifiersOf(log, plan, counts),
    notes: notesOf(topology, members, tasks),
  }
}

function membersOf(role: Role, { groupId, members }: GroupDescription, plan: Plan): MemberStatus[] {
  return members.map(({ memberId, clientId, host, cohort, partitions, waitsFor }) => ({
    role,
    group: groupId,
    member: memberId,
    client: clientId,
    host,
    topology: cohort === '' ? null : cohort,
    waitsFor,
    has: partitions.map((input) => taskOf(plan, input) ?? `${input.topic}-${input.partition}`).sort(),
  }))
}

function taskOf(plan: Plan, { topic, partition }: TopicPartition): string | null {
  const sub = plan.subTopologies.find(({ inputTopic }) => inputTopic === topic)
  return sub === undefined ? null : taskId(sub, partition)
}

async function tasksOf(
  { log, plan, lookAtState }: StatusParts,
  group: GroupDescription,
  counts: PartitionCounts,
): Promise<TaskStatus[]> {
  const inputs = plan.subTopologies.flatMap((sub) =>
    partitionsOf(sub.inputTopic, sub.partitions).map((input) => {
      return { task: taskId(sub, input.partition), ...input }
    }),
  )
  const [found, looks] = await Promise.all([
    positions(log, group.groupId, inputs, counts),
    lookAtState(inputs.map(({ task }) => task)),
  ])
  return inputs.map(({ task, topic, partition }, i): TaskStatus => {
    const look = looks[i] ?? null
    const record = look?.taskRecord ?? null
    const standing = record === null ? null : standingOf(record, task)
    const owner = group.members.find(({ partitions }) =>
      partitions.some((has) => has.topic === topic && has.partition === partition),
    )
    return {
      task,
      topic,
      partition,
      ...found[i]!,
      watermark: formatIso(standing?.watermarkMs ?? null),
      member: owner?.memberId ?? null,
      state: look && {
        incarnation: look.incarnation,
        token: look.token,
        changelogOffset: look.changelogOffset,
        topology: standing?.topologyHash ?? null,
        size: look.size,
      },
    }
  })
}

async function positions(
  log: Log,
  groupId: string,
  partitions: readonly TopicPartition[],
  counts: PartitionCounts,
): Promise<{ committed: number | null; end: number; lag: number }[]> {
  const known = partitions.filter(({ topic, partition }) => partition < counts.get(topic)!)
  // Ends first: what is written meanwhile counts next time.
  const ranges = await log.admin.offsets(known)
  const offsets = await log.admin.groupOffsets(groupId, known)
  return partitions.map((partition) => {
    const i = known.indexOf(partition)
    if (i < 0) return { committed: null, end: 0, lag: 0 }
    const { start, stable, end } = ranges[i]!
    const committed = offsets[i]?.offset ?? null
    return { committed, end, lag: Math.max(0, stable - (committed ?? start)) }
  })
}

function notesOf(topology: string, members: readonly MemberStatus[], tasks: readonly TaskStatus[]): string[] {
  const notes: string[] = []
  for (const { client, member, waitsFor, topology: own } of members) {
    if (waitsFor === null) continue
    notes.push(
      `${client || member} (topology ${own ?? '?'}) waits until the last process with topology ${waitsFor} has left: ` +
        `stop those, or start it with their version.`,
    )
  }
  const others = new Set(
    tasks.flatMap(({ state }) => state?.topology ?? []).filter((hash) => hash !== topology),
  )
  for (const other of others) {
    notes.push(
      `the state was written by topology ${other}, and this version of the pipeline is ${topology}: a start of it ` +
        `says whether they fit.`,
    )
  }
  return notes
}
