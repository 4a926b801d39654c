import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { FAMILIES, type Family, type FamilyKey } from './families.ts'
import type { CommitFigures, Figures, SinkFigures, SourceFigures, TaskFigures } from './figures.ts'
import { oneAtATime, orLate } from './time-limit.ts'

export interface MetricsOptions {
  readonly application: string
  /** `run`, or the one role of this process. */
  readonly role: string
  readonly version: string
  /** The process' own figures (memory, garbage collection, event loop) too. Default true. */
  readonly defaults?: boolean
  /** What is asked of the log for a scrape must come within this. Default 2,000. */
  readonly figuresTimeoutMs?: number
}

/** Finer costs CPU all the time: each step is a timer of the event loop. */
const EVENT_LOOP_PRECISION_MS = 50

type Labels = Readonly<Record<string, string>>

/**
 * What one process tells Prometheus. Events (a commit, a restore, a bulk read) are counted when they happen;
 * everything else is pulled from the figures' owners at each scrape, so that nothing is done a record.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #counters = new Map<FamilyKey, Counter>()
  readonly #gauges = new Map<FamilyKey, Gauge>()
  readonly #histograms = new Map<FamilyKey, Histogram>()
  readonly #timeoutMs: number
  #figures: Figures = {}
  #scrape: Promise<string> | null = null

  constructor({ application, role, version, defaults = true, figuresTimeoutMs = 2_000 }: MetricsOptions) {
    this.#timeoutMs = figuresTimeoutMs
    for (const [key, family] of Object.entries(FAMILIES)) this.#register(key as FamilyKey, family)
    this.#set('info', { application, role, version }, 1)
    if (defaults) {
      collectDefaultMetrics({
        register: this.#registry,
        eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS,
      })
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Where the pulled figures come from, from now on. */
  pullFrom(figures: Figures): void {
    const { lag, sinkLag } = figures
    this.#figures = {
      ...this.#figures,
      ...figures,
      ...(lag !== undefined && { lag: oneAtATime(lag) }),
      ...(sinkLag !== undefined && { sinkLag: oneAtATime(sinkLag) }),
    }
  }

  committed({ durationMs, records, latencyMs }: CommitFigures): void {
    this.#add('commits', {}, 1)
    this.#add('committedRecords', {}, records)
    this.#observe('commitSeconds', durationMs)
    if (latencyMs !== null) this.#observe('latencySeconds', latencyMs)
  }

  /** @param code the error's that made it necessary */
  reopened(code: string): void {
    this.#add('reopens', { code }, 1)
  }

  restored({ records, durationMs }: { readonly records: number; readonly durationMs: number }): void {
    this.#add('restoredRecords', {}, records)
    this.#observe('restoreSeconds', durationMs)
  }

  stateRead({ keys, durationMs }: { readonly keys: number; readonly durationMs: number }): void {
    this.#add('stateReadKeys', {}, keys)
    this.#observe('stateReadSeconds', durationMs)
  }

  stateWritten({ records, durationMs }: { readonly records: number; readonly durationMs: number }): void {
    this.#add('stateWriteRecords', {}, records)
    this.#observe('stateWriteSeconds', durationMs)
  }

  stateFailed(code: string): void {
    this.#add('stateErrors', { code }, 1)
  }

  notice(kind: keyof typeof NOTICES, destination: string): void {
    this.#add(NOTICES[kind], { destination }, 1)
  }

  /** The text that Prometheus reads. Scrapes that come together share one look at the figures. */
  scrape(): Promise<string> {
    this.#scrape ??= this.#collect().finally(() => {
      this.#scrape = null
    })
    return this.#scrape
  }

  async #collect(): Promise<string> {
    const { tasks, lag, cache, restoring, sources, sinks, sinkLag } = this.#figures
    if (tasks !== undefined) this.#setTasks(tasks())
    if (sources !== undefined) this.#setSources(sources())
    if (sinks !== undefined) this.#setSinks(sinks())
    if (restoring !== undefined) this.#set('restoring', {}, restoring())
    if (cache !== undefined) {
      const { bytes, maxBytes, hits, misses } = cache()
      this.#set('cacheBytes', {}, bytes)
      this.#set('cacheMaxBytes', {}, maxBytes)
      this.#total('cacheHits', {}, hits)
      this.#total('cacheMisses', {}, misses)
    }
    // Both ask the log, which may be away: what does not come in time is left out, and said to be.
    await Promise.all([
      this.#part('lag', lag, ({ task, topic, partition, records }) => {
        this.#set('lag', { task, topic, partition: String(partition) }, records)
      }),
      this.#part('sinkLag', sinkLag, ({ destination, records }) => {
        this.#set('sinkLag', { destination }, records)
      }),
    ])
    return await this.#registry.metrics()
  }

  async #part<T>(
    key: 'lag' | 'sinkLag',
    ask: (() => Promise<readonly T[]>) | undefined,
    take: (figures: T) => void,
  ): Promise<void> {
    if (ask === undefined) return
    const answer = await orLate(ask, this.#timeoutMs)
    // An old figure would look like a new one.
    this.#gauges.get(key)!.reset()
    if ('value' in answer) answer.value.forEach(take)
    this.#set('unavailable', { family: FAMILIES[key].name }, 'value' in answer ? 0 : 1)
  }

  #setTasks(tasks: readonly TaskFigures[]): void {
    // Tasks that moved away are another process' to tell of.
    for (const key of ['position', 'watermark'] as const) this.#gauges.get(key)!.reset()
    for (const key of Object.values(TASK_COUNTERS)) this.#counters.get(key)!.reset()
    this.#set('tasks', {}, tasks.length)
    for (const { task, topic, partition, position, watermarkMs, counters } of tasks) {
      this.#set('position', { task, topic, partition: String(partition) }, position)
      if (watermarkMs !== null) this.#set('watermark', { task }, watermarkMs / 1000)
      for (const [name, total] of Object.entries(counters)) {
        const dot = name.lastIndexOf('.')
        const key = TASK_COUNTERS[name.slice(dot + 1)]
        if (key === undefined) continue
        const hasNode = (FAMILIES[key].labels as readonly string[]).includes('node')
        this.#add(key, hasNode ? { task, node: name.slice(0, dot) } : { task }, total)
      }
    }
  }

  #setSources(sources: readonly SourceFigures[]): void {
    for (const { source, valid, invalid, behindWatermark, bytes, promiseMs } of sources) {
      this.#total('sourceRecords', { source }, valid)
      this.#total('sourceInvalid', { source }, invalid)
      this.#total('sourceBehind', { source }, behindWatermark)
      this.#total('sourceBytes', { source }, bytes)
      if (promiseMs !== null) this.#set('sourcePromise', { source }, promiseMs / 1000)
    }
  }

  #setSinks(sinks: readonly SinkFigures[]): void {
    for (const { destination, rows, refused, heldBytes } of sinks) {
      this.#total('sinkRows', { destination }, rows)
      this.#total('sinkRefused', { destination }, refused)
      this.#set('sinkHeldBytes', { destination }, heldBytes)
    }
  }

  #register(key: FamilyKey, { name, type, help, labels, buckets }: Family): void {
    const common = { name, help, labelNames: labels, registers: [this.#registry] }
    if (type === 'counter') this.#counters.set(key, new Counter(common))
    else if (type === 'gauge') this.#gauges.set(key, new Gauge(common))
    else this.#histograms.set(key, new Histogram({ ...common, buckets: [...buckets!] }))
  }

  #set(key: FamilyKey, labels: Labels, value: number): void {
    this.#gauges.get(key)!.set(labels, value)
  }

  #add(key: FamilyKey, labels: Labels, value: number): void {
    this.#counters.get(key)!.inc(labels, value)
  }

  /** A total that somebody else keeps. */
  #total(key: FamilyKey, labels: Labels, value: number): void {
    const counter = this.#counters.get(key)!
    counter.remove(labels)
    counter.inc(labels, value)
  }

  #observe(key: FamilyKey, ms: number): void {
    // A clock that was set back must not make a negative time of it.
    this.#histograms.get(key)!.observe(Math.max(0, ms) / 1000)
  }
}

const NOTICES = {
  delivered: 'noticesDelivered',
  retried: 'noticesRetried',
  refused: 'noticesRefused',
  'too-old': 'noticesTooOld',
} as const satisfies Readonly<Record<string, FamilyKey>>

/** Where a task's counters `<node>.<what>` go. */
const TASK_COUNTERS: Readonly<Record<string, FamilyKey>> = {
  records: 'processed',
  refused: 'refused',
  duplicates: 'duplicates',
  late: 'late',
  closed: 'closedWindows',
  emptySkipped: 'skippedWindows',
  stalls: 'stalls',
}
