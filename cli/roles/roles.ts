/** The roles of one process: sources, worker and sinks, started together and ended in the data's order. */
import { setTimeout as sleep } from 'node:timers/promises'
import { partitionsOf } from '../../log/partitions.ts'
import type { Log } from '../../log/port.ts'
import { inputPartitions, type Plan } from '../../processor/topology/plan.ts'
import { isDrained } from './drain.ts'

/**
 * What the sources of a run come to · `ended`: a finite input has been read, an end mark stands behind it ·
 * `handed-over`: another process has them, and ends them.
 */
export type SourcesOutcome = 'ended' | 'stopped' | 'handed-over'

export interface Roles {
  readonly log: Log
  readonly plan: Plan
  /** Of the workers, here and elsewhere. */
  readonly groupId: string
  readonly sources: SourcesRole
  /** Says when the sources of other processes have ended; asked where ours are handed over. */
  readonly sourcesElsewhere: SourcesRole
  /** Commits what it has processed when the signal aborts. null: others process. */
  readonly worker: { run(signal: AbortSignal): Promise<void> } | null
  /** Empty: others write. */
  readonly sinks: readonly SinkRole[]
}

export interface SourcesRole {
  run(signal: AbortSignal): Promise<{ readonly outcome: SourcesOutcome }>
}

export interface SinkRole {
  readonly topic: string
  /** Commits what is durable when the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves when everything below these offsets of its topic is durable at the destination. */
  whenDurable(targets: readonly { readonly partition: number; readonly offset: number }[]): Promise<void>
  /** Has the destination do what it put off in case more should come. */
  flush(): Promise<void>
}

const FIRST_DRAIN_POLL_MS = 20
const LONGEST_DRAIN_POLL_MS = 500

/**
 * Runs until the finite input is drained, the signal aborts, or a role fails. What is drained is what this
 * process has a part in: with sinks all that was read has arrived at their destinations, with a worker alone
 * it is processed, with sources alone it is in the log.
 * @returns whether it is
 * @throws what the first role to fail threw, after the others have ended cleanly
 */
export async function runRoles(roles: Roles, signal: AbortSignal): Promise<'drained' | 'stopped'> {
  const failed = new AbortController()
  const stopSources = AbortSignal.any([signal, failed.signal])
  const ended = new AbortController()
  const stopWorker = AbortSignal.any([stopSources, ended.signal])
  const arrived = new AbortController()
  const stopSinks = AbortSignal.any([stopSources, arrived.signal])

  const guarded = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      failed.abort(error)
      throw error
    }
  }
  const worker = guarded(roles.worker?.run(stopWorker) ?? Promise.resolve())
  const sinks = roles.sinks.map((sink) => guarded(sink.run(stopSinks)))
  const lead = guarded(
    (async (): Promise<'drained' | 'stopped'> => {
      if ((await untilRead(roles, stopSources)) !== 'ended') return 'stopped'
      if (roles.worker === null && roles.sinks.length === 0) return 'drained'
      if (!(await untilProcessed(roles, stopSources))) return 'stopped'
      ended.abort()
      await worker
      // Nobody writes to the sinks' topics any more: their ends are the ends.
      await untilWritten(roles, stopSources)
      arrived.abort()
      return stopSources.aborted ? 'stopped' : 'drained'
    })(),
  )
  const settled = await Promise.allSettled([lead, worker, ...sinks])
  if (failed.signal.aborted) throw failed.signal.reason
  const [result] = settled
  return result.status === 'fulfilled' ? result.value : 'stopped'
}

async function untilRead(roles: Roles, stop: AbortSignal): Promise<SourcesOutcome> {
  const { outcome } = await roles.sources.run(stop)
  const isBridgeAlone = roles.worker === null && roles.sinks.length === 0
  if (outcome !== 'handed-over') return outcome
  // What is left to do here depends on what the others still read.
  return isBridgeAlone ? 'ended' : (await roles.sourcesElsewhere.run(stop)).outcome
}

async function untilProcessed({ log, plan, groupId }: Roles, stop: AbortSignal): Promise<boolean> {
  const inputs = inputPartitions(plan)
  let pollMs = FIRST_DRAIN_POLL_MS
  while (!stop.aborted) {
    if (await isDrained(log, groupId, inputs)) return true
    await sleep(pollMs, undefined, { signal: stop }).catch(() => undefined)
    pollMs = Math.min(pollMs * 2, LONGEST_DRAIN_POLL_MS)
  }
  return false
}

async function untilWritten({ log, sinks }: Roles, stop: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    if (stop.aborted) resolve()
    stop.addEventListener('abort', () => resolve(), { once: true })
  })
  const written = sinks.map(async (sink) => {
    const [topic] = await log.admin.describeTopics([sink.topic])
    const partitions = partitionsOf(sink.topic, topic?.partitions ?? 0)
    const offsets = await log.admin.offsets(partitions)
    await sink.whenDurable(partitions.map(({ partition }, i) => ({ partition, offset: offsets[i]!.stable })))
    await sink.flush()
  })
  await Promise.race([Promise.all(written), stopped])
}
