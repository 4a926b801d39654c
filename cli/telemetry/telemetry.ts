/** One process' metrics and health: what its parts tell, and what they are asked (docs/metrics.md). */
import type { SourceProgress, Sources } from '../../bridge/sources.ts'
import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { WorkerEvents } from '../../processor/runtime/events.ts'
import type { Worker } from '../../processor/runtime/worker.ts'
import type { StateBackend } from '../../processor/state/port.ts'
import { taskId } from '../../processor/topology/plan.ts'
import type { NoticeEvent } from '../../sinks/notify/notifier.ts'
import type { SinkEvent, SinkRunner } from '../../sinks/runner.ts'
import type {
  LagFigures,
  SinkFigures,
  SinkLagFigures,
  SourceFigures,
  TaskFigures,
} from '../../telemetry/figures.ts'
import { Health } from '../../telemetry/health.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { startTelemetryServer, type TelemetryServer } from '../../telemetry/server.ts'
import { counted } from '../output/format.ts'
import { ownVersion } from '../version.ts'
import { observedState } from './observed-state.ts'
import { watchedLog } from './watched-log.ts'

export interface TelemetryOptions {
  readonly application: string
  /** `run`, or the one role of this process. */
  readonly role: string
  readonly clock: Clock
}

/** What is watched; null, or nothing, is what this process does not have. */
export interface WatchedParts {
  readonly log: Log
  /** One that is there: asking for it shows that the log answers. */
  readonly topic: string
  readonly worker: Worker | null
  readonly sources: Pick<Sources, 'progress'> | null
  readonly sinks: readonly WatchedSink[]
}

export type WatchedSink = Pick<
  SinkRunner,
  'destination' | 'rowsWritten' | 'rowsRefused' | 'heldBytes' | 'lag'
>

export class Telemetry {
  /** For the worker's options. */
  readonly workerEvents: WorkerEvents
  readonly #metrics: Metrics
  readonly #health: Health
  #parts: WatchedParts | null = null
  /** The tasks that the group gave last, running or not; null: none have been given yet. */
  #assigned: readonly string[] | null = null
  /** Why the tasks were last opened again; null: they never were. */
  #reopened: string | null = null
  /** What the state said when it was last asked; null: it answered. */
  #stateError: string | null = null
  /** Why a destination is not written to, by its name. */
  readonly #sinkErrors = new Map<string, string>()

  constructor({ application, role, clock }: TelemetryOptions) {
    this.#metrics = new Metrics({ application, role, version: ownVersion() })
    this.#health = new Health({ clock })
    this.workerEvents = {
      committed: ({ records, durationMs, oldestIngestionMs }) => {
        const latencyMs = oldestIngestionMs === null ? null : clock.nowMs() - oldestIngestionMs
        this.#metrics.committed({ durationMs, records, latencyMs })
      },
      reopening: ({ code, message }) => {
        this.#reopened = `being opened again after ${code}: ${message}`
        this.#metrics.reopened(code)
      },
      assigned: ({ tasks }) => {
        this.#assigned = tasks
      },
      restored: ({ records, durationMs }) => this.#metrics.restored({ records, durationMs }),
    }
    this.#health.addCheck({ name: 'start', check: () => (this.#parts === null ? 'starting' : null) })
    this.#health.addCheck({ name: 'log', check: () => this.#logReason() })
    this.#health.addCheck({ name: 'tasks', check: () => this.#tasksReason() })
    this.#health.addCheck({ name: 'state', check: () => this.#stateError })
    this.#health.addCheck({ name: 'sinks', check: () => [...this.#sinkErrors.values()].join(' ') || null })
  }

  /**
   * From the start on: a process that waits for its servers is alive, and not ready.
   * @param port 0: any that is free
   * @throws TelemetryError when the port cannot be listened on
   */
  serve({ host, port }: { readonly host: string; readonly port: number }): Promise<TelemetryServer> {
    return startTelemetryServer({ metrics: this.#metrics, health: this.#health, host, port })
  }

  /** For the worker and the sinks: their polls are watched. */
  watchedLog(log: Log): Log {
    return watchedLog(log, this.#health)
  }

  /** For the worker: its reads and writes are timed. */
  observedState(state: StateBackend): StateBackend {
    return observedState(state, {
      read: (event) => {
        this.#stateError = null
        this.#metrics.stateRead(event)
      },
      written: (event) => {
        this.#stateError = null
        this.#metrics.stateWritten(event)
      },
      failed: (error) => {
        const { code, message } = error as Error & { code?: string }
        this.#metrics.stateFailed(code ?? 'UNEXPECTED')
        // A state that is another's, or went back, does answer.
        if (code === 'STATE_UNAVAILABLE') this.#stateError = message
      },
    })
  }

  /** For the sinks' reports. */
  sinkEvent(event: SinkEvent): void {
    const { kind, destination } = event
    if (kind === 'waiting') this.#sinkErrors.set(destination, `${destination}: ${event.error.message}`)
    if (kind === 'resumed') this.#sinkErrors.delete(destination)
  }

  /** For those who send notices. */
  noticeEvent({ kind, destination }: NoticeEvent): void {
    this.#metrics.notice(kind, destination)
  }

  /** The parts are open: their figures are asked for from now on. */
  watch(parts: WatchedParts): void {
    this.#parts = parts
    const { log, worker, sources, sinks } = parts
    this.#metrics.pullFrom({
      ...(worker !== null && {
        tasks: () => taskFigures(worker),
        lag: () => lagFigures(worker, log, this.#assigned ?? []),
        restoring: () => worker.restoring,
        cache: () => {
          const { usedBytes, maxBytes, hits, misses } = worker.budget
          return { bytes: usedBytes, maxBytes, hits, misses }
        },
      }),
      ...(sources !== null && { sources: () => sources.progress().map(sourceFigures) }),
      ...(sinks.length > 0 && {
        sinks: () => sinks.map(sinkFigures),
        sinkLag: () => Promise.all(sinks.map(sinkLag)),
      }),
    })
  }

  async #logReason(): Promise<string | null> {
    if (this.#parts === null) return null
    const { log, topic } = this.#parts
    const [found] = await log.admin.describeTopics([topic])
    return (found ?? null) === null ? `topic ${topic} is not there` : null
  }

  #tasksReason(): string | null {
    const worker = this.#parts?.worker ?? null
    if (worker === null) return null
    if (this.#assigned === null) return 'no tasks have been assigned yet'
    if (worker.isReady && worker.tasks.length >= this.#assigned.length) return null
    if (worker.restoring > 0) return `${counted(worker.restoring, 'task is', 'tasks are')} being restored`
    return this.#reopened ?? 'tasks are being handed over'
  }
}

function taskFigures({ tasks }: Worker): TaskFigures[] {
  return tasks.map(({ id, sub, partition, position, watermarkMs, counters }) => ({
    task: id,
    topic: sub.inputTopic,
    partition,
    position,
    watermarkMs: Number.isFinite(watermarkMs) ? watermarkMs : null,
    counters: counters.snapshot(),
  }))
}

/** Of tasks that are being restored too: theirs grows meanwhile. */
async function lagFigures(
  { plan, groupId }: Worker,
  { admin }: Log,
  assigned: readonly string[],
): Promise<LagFigures[]> {
  const inputs = plan.subTopologies.flatMap((sub) =>
    Array.from({ length: sub.partitions }, (_, partition) => ({
      task: taskId(sub, partition),
      topic: sub.inputTopic,
      partition,
    })).filter(({ task }) => assigned.includes(task)),
  )
  if (inputs.length === 0) return []
  // Ends first: what is written meanwhile counts as lag next time, not as progress now.
  const ranges = await admin.offsets(inputs)
  const committed = await admin.groupOffsets(groupId, inputs)
  return inputs.map(({ task, topic, partition }, i) => ({
    task,
    topic,
    partition,
    records: Math.max(0, ranges[i]!.stable - (committed[i]?.offset ?? ranges[i]!.start)),
  }))
}

function sourceFigures(source: SourceProgress): SourceFigures {
  const { name, processed, invalid, behindWatermark, bytes, t } = source
  return { source: name, valid: processed, invalid, behindWatermark, bytes, promiseMs: t }
}

function sinkFigures({ destination, rowsWritten, rowsRefused, heldBytes }: WatchedSink): SinkFigures {
  return { destination, rows: rowsWritten, refused: rowsRefused, heldBytes }
}

async function sinkLag(sink: WatchedSink): Promise<SinkLagFigures> {
  return { destination: sink.destination, records: await sink.lag() }
}
