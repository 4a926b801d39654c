import type { Log, PartitionOffsets, TopicPartition } from '../../log/port.ts'
import { readUntil } from '../../log/read-until.ts'
import { StableWait } from '../../log/stable-wait.ts'
import type { Clock, Timer } from '../../config/clock.ts'
import { LatestRows } from '../state/latest-rows.ts'
import { segmentOf, segmentPrefix, storeOf } from '../state/keys.ts'
import { sameLog, type Checkpoint } from '../state/port.ts'
import { ProcessorError } from './errors.ts'
import { isByTask, type Claim } from './open.ts'
import { asOwner } from './ownership.ts'
import { decodeTaskRecord, TASK_RECORD_KEY, type TaskRecord } from './progress.ts'

/** Together longer than a broker takes to hear that it is deposed (its session). */
const LEADER_TRIES = 500
const LEADER_POLL_MS = 20
const READ_BYTES = 4 * 1024 * 1024
/** What is read is applied at the latest then: an opening that is given up has not read in vain. */
const APPLY_EVERY_MS = 5_000

export interface RestoreDependencies {
  readonly log: Log
  readonly clock: Clock
  readonly timer: Timer
  /** Ends a restore between two steps; what is applied is kept. */
  readonly signal: AbortSignal
  /** What is read is applied when its rows take so much, if not before. */
  readonly maxRowsBytes: number
  /** Told of offsets read so far and in all. */
  readonly onProgress: (claim: Claim, applied: number, total: number) => void
  readonly report: (message: string) => void
}

export interface Restored {
  readonly record: TaskRecord | null
  readonly checkpoint: Checkpoint
  /** Changelog records applied. */
  readonly applied: number
  /** The token that the state carried before, where it was up to date: caches of then still hold. */
  readonly unchangedSince: number | null
}

/** The ends to restore a task up to. */
export interface RestoreEnds {
  readonly changelog: PartitionOffsets
  readonly windows: PartitionOffsets
  /** The last stable offsets have passed the opened record, and what stood in `-windows` behind it. */
  readonly isStable: boolean
}

/** One look at the ends of the tasks' changelogs. */
export async function lookAtEnds(claims: readonly Claim[], log: Log): Promise<RestoreEnds[]> {
  const ranges = await log.admin.offsets(
    claims.flatMap(({ sub, partition }) => [
      { topic: sub.changelogTopic, partition },
      { topic: sub.windowsTopic, partition },
    ]),
  )
  return claims.map(({ owner }, i) => {
    const changelog = ranges[2 * i]!
    const windows = ranges[2 * i + 1]!
    const isStable = changelog.stable > owner.token && windows.stable >= windows.end
    return { changelog, windows, isStable }
  })
}

/** How many offsets of `-windows` a restore has to read. */
export function offsetsToRestore(claim: Claim, ends: RestoreEnds): number {
  const from = isUsable(claim, ends) ? claim.state.found!.meta.checkpoint.windows : 0
  return Math.max(0, ends.windows.stable - Math.max(from, ends.windows.start))
}

/**
 * Open step 4: brings a task's state up to its changelogs. A copy of this log goes on from its
 * checkpoint; anything else begins anew. What somebody else has left open is waited for: the log
 * ends it by its time-out.
 */
export async function restoreTask(
  claim: Claim,
  first: RestoreEnds,
  dependencies: RestoreDependencies,
): Promise<Restored> {
  const { log, clock, timer, signal } = dependencies
  const reading = { maxBytes: READ_BYTES, timer, signal }
  const ends = first.isStable ? first : await untilStable(claim, first, dependencies)
  const { state, id } = claim
  const changelog = { topic: claim.sub.changelogTopic, partition: claim.partition }
  const windows = { topic: claim.sub.windowsTopic, partition: claim.partition }

  const found = isUsable(claim, ends) ? state.found! : null
  const meta = found?.meta ?? (await state.newIncarnation(clock.nowMs()))
  const before = found?.taskRecord ? decodeTaskRecord(found.taskRecord, id) : null

  // The changelog first: its last task record says which segments are closed.
  let recordBytes = null as Buffer | null
  const changelogFrom = Math.max(meta.checkpoint.changelog, ends.changelog.start)
  const changelogEnd = ends.changelog.stable
  await readUntil(log, changelog, { ...reading, from: changelogFrom, end: changelogEnd }, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      if (batch.keyAt(i)?.equals(TASK_RECORD_KEY) === true) recordBytes = Buffer.from(batch.valueAt(i)!)
    }
  })
  const record = recordBytes === null ? before : decodeTaskRecord(recordBytes, id)

  const windowsRange = await untilHolds(windows, ends.windows, record?.windowsEnd ?? 0, dependencies)
  await asOwner(claim, log, () => assertWhole(claim, record, meta.checkpoint, windowsRange))
  const open = openSegments(record)
  let checkpoint = meta.checkpoint
  let applied = 0
  const windowsFrom = Math.max(checkpoint.windows, windowsRange.start)
  const windowsEnd = Math.min(windowsRange.stable, coveredBy(record))
  const rows = new LatestRows(windows)
  let appliedMs = clock.nowMs()
  const applyUpTo = async (windows: number): Promise<void> => {
    const end = { ...checkpoint, windows }
    await state.apply({
      records: [rows],
      skip: (segment) => !open.has(`${storeOf(segment)}/${segmentOf(segment)}`),
      dropPrefixes: [],
      taskRecord: null,
      base: checkpoint,
      end,
      timeMs: clock.nowMs(),
    })
    checkpoint = end
    appliedMs = clock.nowMs()
    rows.clear()
  }
  await readUntil(log, windows, { ...reading, from: windowsFrom, end: windowsEnd }, async (batch) => {
    rows.take(batch)
    applied += batch.count
    const isDue = clock.nowMs() - appliedMs >= APPLY_EVERY_MS
    if (isDue || rows.byteLength >= dependencies.maxRowsBytes) await applyUpTo(batch.nextOffset)
    dependencies.onProgress(claim, batch.nextOffset - windowsFrom, windowsEnd - windowsFrom)
  })
  if (rows.count > 0) await applyUpTo(windowsEnd)

  const end = {
    changelog: changelogEnd,
    windows: Math.max(checkpoint.windows, windowsEnd),
  }
  await state.apply({
    records: [],
    // Closed by a commit that was never applied: nobody else would drop them.
    dropPrefixes: [...openSegments(before)]
      .filter((segment) => !open.has(segment))
      .map((segment) => segmentPrefix(...(segment.split('/').map(Number) as [number, number]))),
    taskRecord: recordBytes,
    base: checkpoint,
    end,
    timeMs: clock.nowMs(),
  })
  const isUnchanged = found !== null && recordBytes === null && applied === 0
  return { record, checkpoint: end, applied, unchangedSince: isUnchanged ? found.meta.token : null }
}

/** Whether the state that was found is a copy of these changelogs, and not of a longer past than theirs. */
function isUsable({ state: { found }, owner }: Claim, { changelog, windows }: RestoreEnds): boolean {
  return (
    found !== null &&
    sameLog(found.meta, owner) &&
    found.meta.checkpoint.changelog <= changelog.stable &&
    found.meta.checkpoint.windows <= windows.stable
  )
}

/** Behind the opened record, and in `-windows` behind all that was there at the first look. */
async function untilStable(
  claim: Claim,
  first: RestoreEnds,
  { log, clock, timer, signal, report }: RestoreDependencies,
): Promise<RestoreEnds> {
  const { id, sub, partition, owner } = claim
  const onWait = (message: string): void => report(`${id}: ${message}`)
  const wait = new StableWait({ clock, timer, signal, onWait })
  for (;;) {
    const [ends] = await lookAtEnds([claim], log)
    const { changelog, windows } = ends!
    if (changelog.stable > owner.token && windows.stable >= first.windows.end) return ends!
    await wait.pause([
      { topic: sub.changelogTopic, partition, ...changelog },
      { topic: sub.windowsTopic, partition, ...windows },
    ])
  }
}

/**
 * The opened record is a barrier in `-changelog` only. A leader of `-windows` that was deposed and has not heard of
 * it yet tells an older end than what is committed: the task record knows better.
 */
async function untilHolds(
  place: TopicPartition,
  first: PartitionOffsets,
  end: number,
  { log, timer, signal }: RestoreDependencies,
): Promise<PartitionOffsets> {
  let found = first
  for (let tries = 0; found.stable < end && tries < LEADER_TRIES; tries++) {
    // Asks who leads it now.
    await log.admin.describeTopics([place.topic])
    await timer.sleep(LEADER_POLL_MS, signal)
    signal.throwIfAborted()
    found = (await log.admin.offsets([place]))[0]!
  }
  return found
}

/**
 * Before anything is applied: a state that was brought up to changelogs with a hole in them would count as whole
 * ever after. Open segments lie within `-windows`, unless somebody else has cut it, and who has committed left a
 * task record.
 */
function assertWhole(
  claim: Claim,
  record: TaskRecord | null,
  { windows: from }: Checkpoint,
  { start, stable }: PartitionOffsets,
): void {
  const { id, sub, partition, committed } = claim
  if (record === null && isByTask(committed)) {
    throw new ProcessorError(
      'CHANGELOG_LOST',
      `${id}: the group stands at ${committed.offset} of ${sub.inputTopic}, but ${sub.changelogTopic} partition ` +
        `${partition} holds no task record: something else has deleted it. ` +
        'Replay the pipeline, which resets state and offsets together.',
    )
  }
  const firsts = Object.values(record?.segments ?? {}).flatMap((segments) => Object.values(segments))
  const needed = Math.max(from, Math.min(...firsts, Infinity))
  const last = Math.max(...firsts, -Infinity)
  if (needed >= start && last < stable) {
    if (stable >= (record?.windowsEnd ?? 0)) return
    throw new ProcessorError(
      'CHANGELOG_LOST',
      `${id}: it has committed ${sub.windowsTopic} partition ${partition} up to ${record!.windowsEnd!}, but the topic ` +
        `ends at ${stable}: a broker has lost what was acknowledged (an unclean leader election?). ` +
        'Bring it back, or replay the pipeline, which resets state and offsets together.',
    )
  }
  throw new ProcessorError(
    'CHANGELOG_LOST',
    `${id}: its open windows begin at offset ${Math.min(needed, last)} of ${sub.windowsTopic} partition ${partition}, but the ` +
      `topic holds ${start} to ${stable} only: something else has deleted them (its retention has to be -1). ` +
      'Bring them back, or replay the pipeline, which resets state and offsets together.',
  )
}

/**
 * How far `-windows` may be read with this task record, which says what of it is open. Both of a transaction's topics
 * get their markers on their own: to a zombie, who has waited for neither, `-windows` may show what a record speaks of
 * that is not to be seen yet.
 */
function coveredBy(record: TaskRecord | null): number {
  return record === null ? 0 : (record.windowsEnd ?? Infinity)
}

function openSegments(record: TaskRecord | null): Set<string> {
  const open = new Set<string>()
  for (const [store, segments] of Object.entries(record?.segments ?? {})) {
    for (const segment of Object.keys(segments)) open.add(`${store}/${segment}`)
  }
  return open
}
