/**
 * Joins the ports with what implements them; nothing else in the project names an implementation (design §4).
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { SourceNotice } from '../bridge/errors.ts'
import { files } from '../bridge/files/files-input.ts'
import { generator } from '../bridge/generator/generator-input.ts'
import { sourcesTopic, sourcesTopicConfig } from '../bridge/positions.ts'
import type { SourceInput } from '../bridge/reader.ts'
import { openSources, type Sources } from '../bridge/sources.ts'
import type { Clock } from '../config/clock.ts'
import { openEmbeddedLog } from '../log/embedded/embedded-log.ts'
import type { Log } from '../log/port.ts'
import { processingLag } from '../processor/runtime/lag.ts'
import { setUp } from '../processor/runtime/setup.ts'
import { Worker } from '../processor/runtime/worker.ts'
import { EmbeddedState } from '../processor/state/embedded/embedded-state.ts'
import type { SourceNode } from '../processor/topology/graph.ts'
import { planPipeline, type Plan } from '../processor/topology/plan.ts'
import { deadLetterDescriptions, deadLetterSchema } from '../schemas/dead-letter.ts'
import { EmbeddedRegistry, type SchemaRegistry } from '../schemas/registry.ts'
import { openWarehouse, WAREHOUSE_FILE, type Warehouse } from '../sinks/local/warehouse.ts'
import { SinkRunner, type SinkEvent } from '../sinks/runner.ts'
import type { Logger } from '../telemetry/log.ts'
import { BackPressure } from './back-pressure.ts'
import { CliError } from './errors.ts'
import { formatElapsed } from './format.ts'
import type { LoadedPipeline } from './pipelines.ts'
import { TopicRegistryStore } from './registry-store.ts'
import { runRoles } from './roles.ts'
import { DEFAULT_PARTITIONS, type Settings } from './settings.ts'

export type { QueryResult } from '../sinks/local/query.ts'
export { queryWarehouse } from '../sinks/local/query-client.ts'

// Several parts share one process here, so each gets less memory than it would take alone. The log's
// cache holds what was written last and is read next, by everybody.
const TAIL_CACHE_BYTES = 16 * 2 ** 20
const SINK_LIMITS = { maxRows: 10_000, maxBytes: 2 * 2 ** 20, maxHeldBytes: 6 * 2 ** 20 }

/** What each source of the pipeline reads, by its name. */
export type Inputs = ReadonlyMap<string, SourceInput>

export interface RunOptions {
  readonly loaded: LoadedPipeline
  readonly inputs: Inputs
  /** null: as the directory has them, else the default. */
  readonly partitions: number | null
  /** Whether the run ends with its inputs. */
  readonly finite: boolean
  /** Locked by the caller. */
  readonly directory: string
  readonly clock: Clock
  readonly logger: Logger
  /** Told what a person should know while it runs. */
  readonly notice: (message: string) => void
}

export interface RunFigures {
  /** By this run, invalid ones included. */
  readonly read: number
  readonly invalid: number
  readonly behindWatermark: number
  /** Records on their way, at the last look. */
  readonly lag: number
  readonly tables: readonly { readonly name: string; readonly written: number }[]
  /** Totals of the directory's whole life, by node and what is counted: `metrics.closed`. */
  readonly totals: ReadonlyMap<string, number>
}

/**
 * Opens everything that a run needs, in the order that refuses soonest: nothing is written before the
 * pipeline's topology is known to fit the directory.
 */
export async function openRun(options: RunOptions): Promise<Run> {
  const { directory, clock } = options
  const closers: (() => Promise<void>)[] = []
  try {
    // First: DuckDB's own file lock is the backstop of the directory's. Queries of other processes are
    // answered from here on.
    const warehouse = await openWarehouse({ path: join(directory, WAREHOUSE_FILE) })
    closers.unshift(() => warehouse.close())
    const log = await openEmbeddedLog({
      directory: folder(directory, 'log'),
      clock,
      cacheBytes: TAIL_CACHE_BYTES,
    })
    closers.unshift(() => log.close())
    const state = EmbeddedState.open(folder(directory, 'state'))
    closers.unshift(() => state.close())
    const registry = new EmbeddedRegistry(new TopicRegistryStore(log))
    const plan = await planFor(log, options)
    const schemaIds = await setUp(log, registry, plan)
    await log.admin.createTopics([
      { name: sourcesTopic(plan.application), ...sourcesTopicConfig(plan.partitions) },
    ])
    const worker = new Worker({ log, state, plan, schemaIds, clock, report: options.notice })
    const sinks = openSinks({ ...options, log, registry, plan, warehouse })
    const pressure = new BackPressure({ lag: lagOf(log, plan, sinks) })
    const sources = await openSources({
      log,
      application: plan.application,
      sources: sourcesOf(plan).map((node) => ({
        name: node.name,
        topic: plan.topicOf(node),
        contract: node.contract,
        schemaId: schemaIds.get(`${plan.topicOf(node)}-value`)!,
        input: options.inputs.get(node.name)!,
      })),
      deadLetterSchemaId: schemaIds.get(`${plan.deadLetterTopic}-value`)!,
      finite: options.finite,
      clock,
      gate: () => pressure.gate(),
      notice: ({ source, message }: SourceNotice) => options.notice(`${source}: ${message}`),
    })
    return new Run({ log, plan, worker, sources, sinks, pressure, options, closers })
  } catch (error) {
    for (const close of closers) await close()
    throw error
  }
}

interface RunParts {
  readonly log: Log
  readonly plan: Plan
  readonly worker: Worker
  readonly sources: Sources
  readonly sinks: readonly BoundSink[]
  readonly pressure: BackPressure
  readonly options: RunOptions
  readonly closers: readonly (() => Promise<void>)[]
}

export class Run {
  readonly #parts: RunParts
  #totals = new Map<string, number>()

  constructor(parts: RunParts) {
    this.#parts = parts
  }

  /** The first line that `run` prints: the log, the state, each source and each sink. */
  get bindings(): string {
    const { plan, options, sinks } = this.#parts
    const sources = sourcesOf(plan).map(({ name }) => `${name} from ${options.inputs.get(name)!.description}`)
    const tables = sinks.filter(({ isTable }) => isTable).map(({ name }) => name)
    const consumers = sinks.filter(({ isTable }) => !isTable).map(({ name }) => `, ${name} (logs)`)
    return (
      `${plan.application}: log ${join(options.directory, 'log')} (embedded, ${plan.partitions} partitions); ` +
      `state ${join(options.directory, 'state')} (embedded); source ${sources.join(', ')}; ` +
      `sinks ${tables.join(', ')} in ${join(options.directory, WAREHOUSE_FILE)}${consumers.join('')}`
    )
  }

  /** Until the finite input is drained or the signal aborts. */
  async run(signal: AbortSignal): Promise<'drained' | 'stopped'> {
    const { log, plan, worker, sources, sinks, pressure } = this.#parts
    pressure.start()
    try {
      return await runRoles(
        {
          log,
          plan,
          groupId: worker.groupId,
          sources,
          worker: this.#counted(),
          sinks: sinks.map(({ runner }) => runner),
        },
        signal,
      )
    } finally {
      pressure.stop()
    }
  }

  figures(): RunFigures {
    const { sources, sinks, pressure } = this.#parts
    const counts = sources.progress()
    const sum = (of: (source: (typeof counts)[number]) => number): number =>
      counts.reduce((total, source) => total + of(source), 0)
    this.#countTasks()
    return {
      read: sum(({ processed, invalid }) => processed + invalid),
      invalid: sum(({ invalid }) => invalid),
      behindWatermark: sum(({ behindWatermark }) => behindWatermark),
      lag: pressure.lastLag,
      tables: sinks
        .filter(({ isTable }) => isTable)
        .map(({ name, runner }) => ({ name, written: runner.rowsWritten })),
      totals: this.#totals,
    }
  }

  async close(): Promise<void> {
    for (const close of this.#parts.closers) await close()
  }

  /** The worker; its tasks are counted just before it lets go of them. */
  #counted(): { run(signal: AbortSignal): Promise<void> } {
    const { worker } = this.#parts
    return {
      run: async (signal) => {
        signal.addEventListener('abort', () => this.#countTasks(), { once: true })
        await worker.run(signal)
      },
    }
  }

  #countTasks(): void {
    const { tasks } = this.#parts.worker
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

/** The number of partitions is chosen once: asked for, else as the directory has it, else the default. */
async function planFor(log: Log, { loaded: { pipeline }, partitions }: RunOptions): Promise<Plan> {
  if (partitions !== null) return planPipeline(pipeline, { partitions })
  const plan = planPipeline(pipeline, { partitions: DEFAULT_PARTITIONS })
  const [first] = sourcesOf(plan)
  const [existing] = await log.admin.describeTopics([plan.topicOf(first!)])
  if (existing === null || existing === undefined || existing.partitions === plan.partitions) return plan
  return planPipeline(pipeline, { partitions: existing.partitions })
}

function sourcesOf({ pipeline }: Plan): SourceNode[] {
  return pipeline.graph.nodes.filter((node) => node.kind === 'source')
}

/**
 * Binds each source: files where some are given, else the generator. Refuses here what can be refused before
 * a directory is opened.
 * @throws CliError BAD_USAGE; SourceError UNKNOWN_FORMAT, and for files that cannot be read
 */
export async function bindInputs(loaded: LoadedPipeline, settings: Settings): Promise<Inputs> {
  const inputs = new Map<string, SourceInput>()
  for (const name of Object.keys(loaded.pipeline.sources)) {
    const input = inputOf(name, loaded, settings)
    await input.prepare()
    inputs.set(name, input)
  }
  return inputs
}

function inputOf(source: string, { pipeline, generators }: LoadedPipeline, settings: Settings): SourceInput {
  const { input, format, rate, count, badShare, seed, sinceMs } = settings
  if (input.length > 0) {
    if (Object.keys(pipeline.sources).length > 1) {
      throw new CliError(
        'BAD_USAGE',
        `pipeline '${pipeline.name}' has several sources: --input feeds one only.`,
      )
    }
    return files({ paths: input, ...(format !== null && { format }) })
  }
  if (format !== null) {
    throw new CliError('BAD_USAGE', `--format ${format} says how files are written: name them with --input.`)
  }
  const maker = generators[source]
  if (maker === undefined) {
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${pipeline.name}' has no generator for '${source}': give files with --input.`,
    )
  }
  return generator({ maker, ratePerMinute: rate, count, badShare, seed, sinceMs })
}

interface BoundSink {
  readonly name: string
  /** Of the warehouse; else it is a consumer beside it. */
  readonly isTable: boolean
  readonly runner: SinkRunner
}

function openSinks(
  parts: RunOptions & { log: Log; registry: SchemaRegistry; plan: Plan; warehouse: Warehouse },
): BoundSink[] {
  const { log, registry, plan, warehouse, clock, logger, loaded, notice } = parts
  const instance = randomBytes(8).toString('hex')
  const report = (event: SinkEvent): void => {
    const message = wordsOf(event)
    if (message !== null) notice(message)
  }
  const common = {
    ...SINK_LIMITS,
    log,
    registry,
    application: plan.application,
    pipeline: plan.pipeline.name,
    instance,
    clock,
    report,
  }
  const deadLetters = {
    name: 'dead_letters',
    schema: deadLetterSchema,
    clusterBy: [],
    description: 'What could not be processed, with its reason and its bytes',
    descriptions: deadLetterDescriptions,
  }
  return [
    ...plan.sinks.map(({ topic, table }) => ({ topic, isTable: true, sink: warehouse.sink(table) })),
    { topic: plan.deadLetterTopic, isTable: true, sink: warehouse.sink(deadLetters) },
    ...loaded.consumers.map(({ topic, sink }) => ({
      topic: `${plan.application}.${topic}`,
      isTable: false,
      sink: sink({ log: logger, clock }),
    })),
  ].map(({ topic, isTable, sink }) => {
    return { name: sink.destination, isTable, runner: new SinkRunner({ ...common, topic, sink }) }
  })
}

/** How far the slowest way behind the sources is back. */
function lagOf(log: Log, plan: Plan, sinks: readonly BoundSink[]): () => Promise<number> {
  return async () => {
    const [behind, ...rows] = await Promise.all([
      processingLag(log, plan),
      ...sinks.map(({ runner }) => runner.lag()),
    ])
    return behind + Math.max(0, ...rows)
  }
}

function wordsOf(event: SinkEvent): string | null {
  switch (event.kind) {
    case 'prepared':
      return null
    case 'waiting':
      return `${event.destination}: ${event.error.message} Nothing is lost; trying again until it works.`
    case 'resumed':
      return `${event.destination}: writing again after ${formatElapsed(event.waitedMs)}.`
    case 'rewriting':
      return (
        `${event.destination}: holds less of ${event.topic}, partition ${event.partition}, than it once did; ` +
        `writing offsets ${event.from} to ${event.until} again.`
      )
    case 'refused':
      return (
        `${event.destination}: refused ${event.count} rows of ${event.topic}, partition ${event.partition}, from ` +
        `offset ${event.offset} on (${event.reason}); they are dead letters now.`
      )
  }
}

function folder(directory: string, name: string): string {
  const path = join(directory, name)
  mkdirSync(path, { recursive: true })
  return path
}
