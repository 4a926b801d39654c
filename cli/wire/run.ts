/** Joins the ports with what implements them, for the roles that one process has (design §4). */
import { join } from 'node:path'
import type { SourceNotice } from '../../bridge/errors.ts'
import { sourcesTopic, sourcesTopicConfig } from '../../bridge/positions.ts'
import { openSources, type SourceProgress, type Sources } from '../../bridge/sources.ts'
import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import { processGroupId } from '../../processor/runtime/lag.ts'
import { setUp } from '../../processor/runtime/setup.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import type { SourceNode } from '../../processor/topology/graph.ts'
import type { Plan } from '../../processor/topology/plan.ts'
import { openWarehouse, WAREHOUSE_FILE } from '../../sinks/local/warehouse.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { TelemetryServer } from '../../telemetry/server.ts'
import { sumOf, TaskGains, type InputState, type RunFigures, type SourceState } from '../live/figures.ts'
import type { LoadedPipeline } from '../pipelines/load.ts'
import { planFor } from '../pipelines/plan-for.ts'
import { BackPressure } from '../roles/back-pressure.ts'
import { Lags } from '../roles/lags.ts'
import { runRoles } from '../roles/roles.ts'
import { SourcesElsewhere } from '../roles/sources-elsewhere.ts'
import type { Settings } from '../settings/settings.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import type { Inputs } from './inputs.ts'
import { openSinks, type BoundSink } from './sinks.ts'
import { openStores, type Stores } from './stores.ts'

export type Role = 'bridge' | 'process' | 'sink'

export interface RunOptions {
  readonly loaded: LoadedPipeline
  /** One or more. */
  readonly roles: ReadonlySet<Role>
  readonly settings: Settings
  /** Of the bridge; empty without it, and where others write all topics that are read. */
  readonly inputs: Inputs
  readonly clock: Clock
  readonly logger: Logger
  /** Ends the waiting for servers while it opens. */
  readonly signal: AbortSignal
  /** Told what a person should know while it runs. */
  readonly notice: (message: string) => void
}

interface RunParts {
  readonly stores: Stores
  readonly plan: Plan
  readonly worker: Worker | null
  readonly sources: Sources | null
  readonly sinks: readonly BoundSink[]
  readonly lags: Lags
  readonly pressure: BackPressure
  /** null: nobody asked for one. */
  readonly server: TelemetryServer | null
  readonly options: RunOptions
  readonly closers: readonly (() => Promise<void>)[]
}

const MIB = 1024 * 1024
/** On Kafka a look at the lag is a request to every broker, and its log may wait longer. */
const LOOK_EVERY_MS = { embedded: 100, stack: 1_000 }
/**
 * On Kafka time and bytes decide when to commit, and this only bounds how much is processed again after a crash;
 * embedded, three roles share one process' memory.
 */
const COMMIT_RECORDS = { embedded: 10_000, stack: 250_000 }

/**
 * Opens everything that the roles need, in the order that refuses soonest: nothing is written before the
 * pipeline's topology is known to fit what is there. The data directory, embedded, and that of the
 * warehouse are locked by the caller.
 */
export async function openRun(options: RunOptions): Promise<Run> {
  const { roles, settings } = options
  const closers: (() => Promise<void>)[] = []
  try {
    const telemetry = telemetryOf(options)
    const server = await serverOf(telemetry, settings)
    if (server !== null) closers.unshift(() => server.close())
    // Before the log: DuckDB's own file lock is the backstop of the directory's. Queries of other processes are
    // answered from here on.
    const warehouse = roles.has('sink')
      ? await openWarehouse({ path: join(settings.warehouse, WAREHOUSE_FILE) })
      : null
    if (warehouse !== null) closers.unshift(() => warehouse.close())
    const stores = await openStores({ ...options, ...settings, clientId: clientIdOf(options) })
    closers.unshift(() => stores.close())
    const { registry } = stores
    const log = telemetry?.watchedLog(stores.log) ?? stores.log
    const plan = await planFor(options.loaded.pipeline, settings.partitions, async (names) =>
      (await log.admin.describeTopics(names)).map((topic) => topic?.partitions ?? null),
    )
    const schemaIds = await setUp(log, registry, plan, options.notice)
    await log.admin.createTopics([
      { name: sourcesTopic(plan.application), ...sourcesTopicConfig(plan.partitions) },
    ])
    let pressure: BackPressure | null = null
    const isInputHeld = (): boolean => pressure?.isOn ?? false
    const worker = roles.has('process')
      ? await openWorker({ stores, log, plan, schemaIds, telemetry, options, isInputHeld })
      : null
    const sinks =
      warehouse === null
        ? []
        : await openSinks({
            ...options,
            log,
            registry,
            plan,
            warehouse,
            instance: settings.instance,
            alerts: settings.alerts,
            ...(telemetry !== null && {
              tell: (event) => telemetry.sinkEvent(event),
              tellNotice: (event) => telemetry.noticeEvent(event),
            }),
          })
    for (const sink of sinks) closers.unshift(() => sink.close())
    const lags = new Lags(log, plan, sinks)
    pressure = new BackPressure({
      lag: () => lags.look(),
      everyMs: LOOK_EVERY_MS[settings.stack === null ? 'embedded' : 'stack'],
    })
    const sources =
      options.inputs.size > 0
        ? await openBridge({ log, plan, schemaIds, options, gate: worker === null ? null : pressure })
        : null
    telemetry?.watch({
      log,
      topic: plan.deadLetterTopic,
      worker,
      sources,
      sinks: sinks.map(({ runner }) => runner),
    })
    return new Run({ stores, plan, worker, sources, sinks, lags, pressure, server, options, closers })
  } catch (error) {
    for (const close of closers) await close()
    throw error
  }
}

interface WorkerParts {
  readonly stores: Stores
  readonly log: Log
  readonly plan: Plan
  readonly schemaIds: ReadonlyMap<string, number>
  readonly telemetry: Telemetry | null
  readonly options: RunOptions
  readonly isInputHeld: () => boolean
}

async function openWorker(parts: WorkerParts): Promise<Worker> {
  const { stores, log, plan, schemaIds, telemetry, options, isInputHeld } = parts
  const { instance, commitIntervalMs, stateCacheMib } = options.settings
  const state = await stores.openState(plan.application)
  return new Worker({
    log,
    state: telemetry?.observedState(state) ?? state,
    plan,
    schemaIds,
    isInputHeld,
    clock: options.clock,
    commitRecords: COMMIT_RECORDS[options.settings.stack === null ? 'embedded' : 'stack'],
    ...(instance !== null && { instance }),
    ...(commitIntervalMs !== null && { commitIntervalMs }),
    ...(stateCacheMib !== null && { cacheBytes: stateCacheMib * MIB }),
    ...(telemetry !== null && { events: telemetry.workerEvents }),
    report: options.notice,
  })
}

function telemetryOf({ loaded, roles, settings, clock }: RunOptions): Telemetry | null {
  if (settings.metricsPort === null) return null
  return new Telemetry({ application: loaded.pipeline.name, role: roleOf(roles), clock })
}

async function serverOf(
  telemetry: Telemetry | null,
  { metricsPort: port, metricsHost: host }: Settings,
): Promise<TelemetryServer | null> {
  return telemetry === null || port === null ? null : await telemetry.serve({ host, port })
}

function roleOf(roles: ReadonlySet<Role>): string {
  return roles.size === 1 ? [...roles][0]! : 'run'
}

function clientIdOf({ loaded, roles, settings }: RunOptions): string {
  return `millrace-${loaded.pipeline.name}-${roleOf(roles)}${settings.instance === null ? '' : `-${settings.instance}`}`
}

interface BridgeParts {
  readonly log: Log
  readonly plan: Plan
  readonly schemaIds: ReadonlyMap<string, number>
  readonly options: RunOptions
  /** null: those who read behind it are other processes, and the log is there to wait in. */
  readonly gate: BackPressure | null
}

function openBridge({ log, plan, schemaIds, options, gate }: BridgeParts): Promise<Sources> {
  const { inputs, settings, clock, notice } = options
  return openSources({
    log,
    application: plan.application,
    sources: bridgedSourcesOf(plan).map((node) => ({
      name: node.name,
      topic: plan.topicOf(node),
      contract: node.contract,
      schemaId: schemaIds.get(`${plan.topicOf(node)}-value`)!,
      input: inputs.get(node.name)!,
    })),
    deadLetterSchemaId: schemaIds.get(`${plan.deadLetterTopic}-value`)!,
    finite: settings.exitWhenDone,
    clock,
    ...(gate !== null && { gate: () => gate.gate() }),
    notice: ({ source, message }: SourceNotice) => notice(`${source}: ${message}`),
  })
}

/** The roles of one process, opened; {@link openRun} makes it. */
export class Run {
  readonly #parts: RunParts
  readonly #gains = new TaskGains()
  #totals = new Map<string, number>()
  /** By source: what was seen last, also when the tasks have gone. */
  readonly #watermarks = new Map<string, number>()

  constructor(parts: RunParts) {
    this.#parts = parts
  }

  /** The first line that is printed: the log, the state, each source and each sink that this process has. */
  get bindings(): string {
    const { stores, plan, worker, sources, sinks, server, options } = this.#parts
    const parts = [`log ${stores.logDescription}, ${plan.partitions} partitions)`]
    if (worker !== null) parts.push(`state ${stores.stateDescription}`)
    if (sources !== null) {
      const bound = bridgedSourcesOf(plan).map(
        ({ name }) => `${name} from ${options.inputs.get(name)!.description}`,
      )
      parts.push(`source ${bound.join(', ')}`)
    }
    if (sinks.length > 0) {
      const tables = sinks.filter(({ goesTo }) => goesTo === null).map(({ name }) => name)
      const consumers = sinks.map(({ name, goesTo }) => (goesTo === null ? '' : `, ${name} (${goesTo})`))
      const file = join(options.settings.warehouse, WAREHOUSE_FILE)
      parts.push(`sinks ${tables.join(', ')} in ${file}${consumers.join('')}`)
    }
    if (server !== null) parts.push(`metrics ${server.url}/metrics`)
    return `${plan.application}: ${parts.join('; ')}`
  }

  /** Until the finite input is drained or the signal aborts. */
  async run(signal: AbortSignal): Promise<'drained' | 'stopped'> {
    const { stores, plan, sources, sinks, pressure, options } = this.#parts
    const sourcesElsewhere = new SourcesElsewhere({
      log: stores.log,
      application: plan.application,
      sources: bridgedSourcesOf(plan).map(({ name }) => name),
      finite: options.settings.exitWhenDone,
    })
    pressure.start()
    try {
      const outcome = await runRoles(
        {
          log: stores.log,
          plan,
          groupId: processGroupId(plan.application),
          sources: sources ?? sourcesElsewhere,
          sourcesElsewhere,
          worker: this.#counted(),
          sinks: sinks.map(({ runner }) => runner),
        },
        signal,
      )
      // What is said last is how it is.
      if (outcome === 'drained') await pressure.look()
      return outcome
    } finally {
      pressure.stop()
    }
  }

  figures(): RunFigures {
    const { plan, worker, sources, sinks, lags, pressure } = this.#parts
    const counts = sources?.progress() ?? []
    const sum = (of: (source: SourceProgress) => number): number =>
      counts.reduce((total, source) => total + of(source), 0)
    this.#countTasks()
    const gained = this.#gains.totals()
    const roots = plan.subTopologies.filter(({ upstreams }) => upstreams.length === 0).map(({ name }) => name)
    return {
      read: sum(({ processed, invalid }) => processed + invalid),
      invalid: sum(({ invalid }) => invalid),
      behindWatermark: sum(({ behindWatermark }) => behindWatermark),
      lag: pressure.lastLag,
      sources: sourcesOf(plan).map((node) =>
        this.#sourceState(
          node,
          counts.find(({ name }) => name === node.name),
        ),
      ),
      tables: sinks
        .filter(({ goesTo }) => goesTo === null)
        .map(({ name, runner }) => ({ name, written: runner.rowsWritten, lag: lags.ofSink(name) })),
      tasks: worker && {
        open: worker.tasks.length,
        restoring: worker.restoring,
        // What is repartitioned is the same records once more.
        processed: sumOf(gained, 'records', (node) => roots.includes(node)),
        closed: sumOf(gained, 'closed'),
        late: sumOf(gained, 'late'),
        duplicates: sumOf(gained, 'duplicates'),
        refused: sumOf(gained, 'refused'),
      },
      totals: this.#totals,
    }
  }

  #sourceState(node: SourceNode, progress: SourceProgress | undefined): SourceState {
    const { plan, worker, lags, options } = this.#parts
    const topic = plan.topicOf(node)
    const seen = (worker?.tasks ?? []).filter(({ sub }) => sub.inputTopic === topic)
    const least = Math.min(...seen.map(({ watermarkMs }) => watermarkMs))
    if (Number.isFinite(least)) this.#watermarks.set(node.name, least)
    return {
      name: node.name,
      read: progress === undefined ? 0 : progress.processed + progress.invalid,
      invalid: progress?.invalid ?? 0,
      watermarkMs: this.#watermarks.get(node.name) ?? progress?.t ?? null,
      lag: lags.ofTopic(topic),
      input: progress === undefined ? null : inputOf(progress, options.settings.exitWhenDone),
    }
  }

  async close(): Promise<void> {
    for (const close of this.#parts.closers) await close()
  }

  /** The worker; its tasks are counted just before it lets go of them. */
  #counted(): { run(signal: AbortSignal): Promise<void> } | null {
    const { worker } = this.#parts
    if (worker === null) return null
    return {
      run: async (signal) => {
        signal.addEventListener('abort', () => this.#countTasks(), { once: true })
        await worker.run(signal)
      },
    }
  }

  #countTasks(): void {
    const tasks = this.#parts.worker?.tasks ?? []
    this.#gains.look(tasks)
    if (tasks.length === 0) return
    const totals = new Map<string, number>()
    for (const task of tasks) {
      for (const [name, count] of Object.entries(task.counters.snapshot())) {
        totals.set(name, (totals.get(name) ?? 0) + count)
      }
    }
    this.#totals = totals
  }
}

function sourcesOf({ pipeline }: Plan): SourceNode[] {
  return pipeline.graph.nodes.filter((node) => node.kind === 'source')
}

/** Those whose topics are ours to fill. */
function bridgedSourcesOf(plan: Plan): SourceNode[] {
  return sourcesOf(plan).filter(({ foreign }) => foreign === null)
}

/** How far a source with an end has come. */
function inputOf({ reader }: SourceProgress, isFinite: boolean): InputState | null {
  const { files, generated } = reader
  if (generated !== undefined) {
    const { index, count } = generated
    return count === null ? null : { done: Math.min(index, count), total: count, unit: 'records' }
  }
  if (!isFinite || files.length === 0) return null
  return {
    done: files.reduce((sum, { consumed }) => sum + consumed, 0),
    total: files.reduce((sum, { size }) => sum + size, 0),
    unit: 'bytes',
  }
}
