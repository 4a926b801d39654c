// Tests run on the embedded log's memory variant, which passes the same contract suite as the others.
import { createMemoryLog } from '../../log/embedded/embedded-log.ts'
import { BatchBuilder } from '../../log/batch.ts'
import { partitionFor } from '../../log/partitioner.ts'
import { readUntil } from '../../log/read-until.ts'
import type { Log } from '../../log/port.ts'
import type { Clock } from '../../config/clock.ts'
import { encodeMark, MARK_HEADER, MARK_HEADERS, type Mark } from '../../schemas/marks.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import { EmbeddedRegistry, type SchemaRegistry } from '../../schemas/registry.ts'
import type { Row, RowOf } from '../../schemas/schema.ts'
import { writeHeader } from '../../schemas/wire.ts'
import { processingLag } from '../runtime/lag.ts'
import { setUp } from '../runtime/setup.ts'
import type { ProtocolStep } from '../runtime/protocol.ts'
import { Worker, type WorkerOptions } from '../runtime/worker.ts'
import { MemoryState } from '../state/memory/memory-state.ts'
import type { StateBackend } from '../state/port.ts'
import type { AnyContract, AnySchema, SourceNode } from '../topology/graph.ts'
import type { Pipeline } from '../topology/pipeline.ts'
import { inputPartitions, planPipeline, type Plan } from '../topology/plan.ts'

export interface DriverOptions {
  /** Where the tasks keep their state. Default: in memory, as `driver.state`. */
  readonly state?: StateBackend
  /** Default 4. */
  readonly partitions?: number
  /** How many processes share the tasks. Default 1. */
  readonly processes?: number
  /** Where virtual time begins, epoch ms. Default 2026-01-01T00:00:00Z. */
  readonly startMs?: number
  /** Goes on where this one stands, which ends: with its log, state and clock, as an edited pipeline would. */
  readonly after?: PipelineDriver
  /** The worker's bounds, for tests that split batches or starve its cache. */
  readonly worker?: Pick<
    WorkerOptions,
    'commitBytes' | 'commitRecords' | 'fetchBytes' | 'cacheBytes' | 'commitIntervalMs'
  >
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #nowMs: number

  constructor(startMs: number) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}

/** The process was stopped at a step of the protocol, as by kill -9. */
class Crash extends Error {
  readonly code = 'CRASH'
}

/** The group's default. */
const SESSION_TIMEOUT_MS = 10_000
/** Longer than a worker's own, so that hours of virtual time do not take minutes. */
const POLL_MS = 1_000

interface SourceState {
  readonly node: SourceNode
  greatestMs: number
}

/**
 * Runs a whole pipeline in this process: real topology, worker, tasks and protocol over a log and
 * a state in memory, under a clock that the test moves. No cluster, no waiting.
 */
export class PipelineDriver {
  readonly plan: Plan
  readonly log: Log
  readonly state: MemoryState
  readonly clock: ManualClock
  /** Schema ids by subject. */
  readonly schemaIds: ReadonlyMap<string, number>
  /** What was said about an edit when it was opened. */
  readonly notes: readonly string[]
  readonly #registry: SchemaRegistry
  readonly #options: DriverOptions
  readonly #sources = new Map<string, SourceState>()
  /** One for each process that the driver plays; null where it is not running. */
  readonly #workers: (Worker | null)[]
  #crashAt: { step: ProtocolStep; remaining: number } | null = null
  #epochE = -Infinity

  private constructor(
    parts: Pick<PipelineDriver, 'plan' | 'log' | 'clock' | 'schemaIds' | 'notes'>,
    registry: SchemaRegistry,
    options: DriverOptions,
  ) {
    const { after } = options
    this.plan = parts.plan
    this.log = parts.log
    this.clock = parts.clock
    this.schemaIds = parts.schemaIds
    this.notes = parts.notes
    this.state = after?.state ?? new MemoryState()
    this.#registry = registry
    this.#options = options
    this.#workers = Array.from({ length: options.processes ?? 1 }, () => null)
    for (const node of parts.plan.pipeline.graph.nodes) {
      if (node.kind !== 'source') continue
      const greatestMs = (after && after.#sources.get(node.name)?.greatestMs) ?? -Infinity
      this.#sources.set(node.name, { node, greatestMs })
    }
  }

  /** @throws TopologyError INCOMPATIBLE_TOPOLOGY where it goes on after another pipeline whose state it does not fit */
  static async open(pipeline: Pipeline, options: DriverOptions = {}): Promise<PipelineDriver> {
    const { after } = options
    if (after !== undefined) await after.#stop()
    const clock = after?.clock ?? new ManualClock(options.startMs ?? Date.UTC(2026, 0, 1))
    const plan = planPipeline(pipeline, { partitions: options.partitions ?? after?.plan.partitions ?? 4 })
    const log = after?.log ?? (await createMemoryLog({ clock }))
    const registry =
      (after && after.#registry) ??
      new EmbeddedRegistry({ load: () => Promise.resolve([]), append: () => Promise.resolve() })
    const notes: string[] = []
    const schemaIds = await setUp(log, registry, plan, (message) => notes.push(message))
    return new PipelineDriver({ plan, log, clock, schemaIds, notes }, registry, options)
  }

  /**
   * Gives a source JSON values, as a file would: checked by the contract, each with the watermark
   * that the ones before it have reached, a heartbeat behind them.
   * @returns how many the contract refused
   */
  async send(source: string, values: readonly unknown[]): Promise<number> {
    const state = this.#source(source)
    const { contract } = state.node
    const builders = this.#builders(source)
    let refused = 0
    for (const value of values) {
      const json = structuredClone(value)
      const eventTimeMs = contract.check(json, this.clock.nowMs(), this.clock.nowMs())
      if (typeof eventTimeMs !== 'number') {
        refused++
        continue
      }
      const watermarkMs = state.greatestMs === -Infinity ? null : state.greatestMs - contract.disorderMs
      this.#append(builders, contract, json, eventTimeMs, watermarkMs)
      state.greatestMs = Math.max(state.greatestMs, eventTimeMs)
    }
    if (state.greatestMs !== -Infinity) {
      const heartbeat: Mark = { kind: 'heartbeat', writer: source, t: state.greatestMs - contract.disorderMs }
      for (const builder of builders) builder.append(null, encodeMark(heartbeat), MARK_HEADERS)
    }
    await this.#write(builders)
    return refused
  }

  /** Writes a record's bytes into a source topic as they are, as a foreign writer might. */
  async sendBytes(source: string, key: string, value: Buffer | null): Promise<void> {
    const builders = this.#builders(source)
    const keyBytes = Buffer.from(key)
    builders[partitionFor(keyBytes, builders.length)]!.append(keyBytes, value)
    await this.#write(builders)
  }

  /** Puts the end mark into every partition of every source: what has come so far is closed. */
  async end(): Promise<void> {
    for (const { greatestMs } of this.#sources.values()) this.#epochE = Math.max(this.#epochE, greatestMs)
    if (this.#epochE === -Infinity) return
    for (const source of this.#sources.keys()) {
      const builders = this.#builders(source)
      for (const builder of builders)
        builder.append(null, encodeMark({ kind: 'end', e: this.#epochE }), MARK_HEADERS)
      await this.#write(builders)
    }
  }

  /** Stops the worker, as kill -9 would, when it has done this step the `nth` time from now. */
  crashAt(step: ProtocolStep, nth = 1): void {
    this.#crashAt = { step, remaining: nth }
  }

  /**
   * Forgets a process without a word to it, and what it had not committed. Virtual time passes
   * until the group has noticed.
   */
  kill(process = 0): void {
    if (this.#workers[process] !== null) this.clock.advance(SESSION_TIMEOUT_MS + 1)
    this.#workers[process] = null
  }

  /** One poll of a process, starting it where it does not run. @returns false when it crashed as told to */
  async step(process = 0): Promise<boolean> {
    return this.#unlessItCrashes(process, async () => {
      await (this.#workers[process] ??= this.#newWorker(process)).runOnce(0)
      return true
    })
  }

  /** Time passes, in which a process polls as it does where nothing comes. It restarts after crashes. */
  async pass(ms: number, process = 0): Promise<void> {
    for (let left = ms; left > 0; left -= POLL_MS) {
      this.clock.advance(Math.min(left, POLL_MS))
      await this.step(process)
    }
  }

  /** Runs, restarting after crashes, until everything written so far is processed and committed. */
  async settle(): Promise<void> {
    for (;;) {
      const before = await this.#ends()
      let quiet = true
      for (let process = 0; process < this.#workers.length; process++) {
        if (!(await this.step(process))) quiet = false
        else if (!(await this.#unlessItCrashes(process, () => this.#workers[process]!.flush()))) quiet = false
      }
      if (quiet && (await processingLag(this.log, this.plan)) === 0 && (await this.#ends()) === before) return
    }
  }

  /** What a table or topic of the pipeline received, in offset order by partition. */
  async rows(destination: string): Promise<Record<string, unknown>[]> {
    const sink = this.plan.sinks.find(({ node }) => node.name === destination)
    if (sink === undefined) {
      const known = this.plan.sinks.map(({ node }) => `'${node.name}'`).join(', ')
      throw new Error(`The pipeline has no destination '${destination}'; it has ${known}.`)
    }
    return this.#read(sink.topic, sink.node.schema)
  }

  deadLetters(): Promise<RowOf<typeof deadLetterSchema>[]> {
    return this.#read(this.plan.deadLetterTopic, deadLetterSchema as AnySchema) as Promise<never>
  }

  /** Totals of the tasks' counters, such as `metrics.closed` or `orders-dedupe.duplicates`. */
  counters(): Record<string, number> {
    const totals: Record<string, number> = {}
    for (const task of this.#workers.flatMap((worker) => worker?.tasks ?? [])) {
      for (const [name, total] of Object.entries(task.counters.snapshot())) {
        totals[name] = (totals[name] ?? 0) + total
      }
    }
    return totals
  }

  async close(): Promise<void> {
    await this.#stop()
    await this.log.close()
  }

  async #stop(): Promise<void> {
    // Each waits for the others to let go of the group: they have to go together.
    await Promise.all(this.#workers.filter((worker) => worker !== null).map((worker) => worker.close()))
    this.#workers.fill(null)
  }

  #newWorker(process: number): Worker {
    return new Worker({
      log: this.log,
      state: this.#options.state ?? this.state,
      plan: this.plan,
      schemaIds: this.schemaIds,
      instance: `driver-${process}`,
      clock: this.clock,
      commitIntervalMs: 0,
      ...this.#options.worker,
      onStep: (step) => {
        if (this.#crashAt?.step !== step || --this.#crashAt.remaining > 0) return
        this.#crashAt = null
        throw new Crash(`stopped after ${step}`)
      },
    })
  }

  async #unlessItCrashes(process: number, action: () => Promise<boolean>): Promise<boolean> {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      this.kill(process)
      return false
    }
  }

  async #ends(): Promise<string> {
    return (await this.log.admin.offsets(inputPartitions(this.plan))).map(({ stable }) => stable).join()
  }

  #source(name: string): SourceState {
    const source = this.#sources.get(name)
    if (source === undefined) throw new Error(`The pipeline has no source '${name}'.`)
    return source
  }

  #builders(source: string): BatchBuilder[] {
    const topic = this.plan.topicOf(this.#source(source).node)
    return Array.from({ length: this.plan.partitions }, (_, partition) => new BatchBuilder(topic, partition))
  }

  #append(
    builders: readonly BatchBuilder[],
    contract: AnyContract,
    json: any,
    eventTimeMs: number,
    watermarkMs: number | null,
  ): void {
    const key = Buffer.from(contract.keyOf(json as Row))
    const builder = builders[partitionFor(key, builders.length)]!
    builder.beginKey()
    builder.writer.bytes(key)
    builder.beginValue()
    writeHeader(builder.writer, this.schemaIds.get(`${builder.topic}-value`)!)
    contract.encodeSource(builder.writer, json as Row, eventTimeMs, watermarkMs)
    builder.end()
  }

  async #write(builders: readonly BatchBuilder[]): Promise<void> {
    const producer = this.log.idempotentProducer()
    await producer.send(builders.filter(({ count }) => count > 0))
    await producer.close()
  }

  async #read(topic: string, schema: AnySchema): Promise<Record<string, unknown>[]> {
    const rows: Record<string, unknown>[] = []
    const [description] = await this.log.admin.describeTopics([topic])
    for (let partition = 0; partition < description!.partitions; partition++) {
      const [range] = await this.log.admin.offsets([{ topic, partition }])
      const { start, stable } = range!
      await readUntil(this.log, { topic, partition }, { from: start, end: stable }, (batch) => {
        for (let i = 0; i < batch.count; i++) {
          const value = batch.valueAt(i)
          if (value === null || batch.headerAt(i, MARK_HEADER) !== undefined) continue
          rows.push(schema.decode(value, 5, value.length) as Record<string, unknown>)
        }
      })
    }
    return rows
  }
}
