import { systemClock, type Clock } from '../config/clock.ts'
import type { GroupConsumer, Log, TopicPartition } from '../log/port.ts'
import { SourceError, type SourceNotice } from './errors.ts'
import {
  PartitionOwner,
  type OwnerOptions,
  type OwnerOutcome,
  type SourceBinding,
  isEndOf,
  isPassing,
} from './partition-owner.ts'
import {
  checkSourceName,
  deadLettersTopic,
  encodeSourceRecord,
  NEW_SOURCE,
  partitionOfSource,
  sourcesTopic,
  type SourceRecord,
} from './positions.ts'
import type { ReaderProgress } from './reader.ts'
import { Ends } from './source-pump.ts'
import type { TransactionLimits } from './source-writer.ts'
import { TransactionContent } from './transaction.ts'

export interface SourcesOptions {
  readonly log: Log
  readonly application: string
  readonly sources: readonly SourceBinding[]
  readonly deadLetterSchemaId: number
  /** Whether the run ends with its inputs, an end mark behind them; else files are tailed. Default false. */
  readonly finite?: boolean
  readonly clock?: Clock
  readonly transaction?: TransactionLimits
  /** Back-pressure: what it returns is awaited before the next chunk is read. Default: never holds. */
  gate?(): Promise<void> | undefined
  /** Default: nobody listens. */
  notice?(notice: SourceNotice): void
  /** First wait after an error of the log; it doubles up to 5 s. Default 100. */
  readonly backoffMs?: number
}

export interface SourceCounts {
  readonly name: string
  readonly processed: number
  readonly invalid: number
  /** Records that came with an event time before the source's T. */
  readonly behindWatermark: number
  /** Of input, uncompressed. */
  readonly bytes: number
}

export interface SourceProgress extends SourceCounts {
  /** T, epoch ms; null before the first valid record. */
  readonly t: number | null
  readonly reader: ReaderProgress
}

export interface SourcesSummary {
  /** What this run wrote. */
  readonly sources: readonly SourceCounts[]
  /** E of the end mark that this run wrote, epoch ms; null: it wrote none. */
  readonly endMarkMs: number | null
  /** `handed-over`: what is left is another process' (it owns the other sources). */
  readonly outcome: 'ended' | 'stopped' | 'handed-over'
}

const POLL_MS = 500
const POLL_BYTES = 1 << 16
const FENCED_GRACE_MS = 30_000

/**
 * Prepares a run of sources: checks the inputs and the topics, and writes nothing.
 * @throws SourceError when an input cannot be read or a topic is missing
 */
export async function openSources(options: SourcesOptions): Promise<Sources> {
  const { log, application, sources } = options
  if (sources.length === 0)
    throw new SourceError('BAD_SOURCE', `application '${application}' has no source to run.`)
  for (const { name, input } of sources) {
    checkSourceName(name)
    await input.prepare()
  }
  const topics = [
    ...new Set([
      ...sources.map(({ topic }) => topic),
      deadLettersTopic(application),
      sourcesTopic(application),
    ]),
  ]
  const descriptions = await log.admin.describeTopics(topics)
  const partitions = new Map<string, number>()
  const limits = new Map<string, number>()
  for (const [index, topic] of topics.entries()) {
    const description = descriptions[index]
    if (description === null || description === undefined) {
      throw new SourceError(
        'SOURCE_TOPIC_MISSING',
        `topic '${topic}' does not exist: create it before the sources run.`,
      )
    }
    partitions.set(topic, description.partitions)
    limits.set(topic, description.maxBatchBytes ?? Infinity)
  }
  return new Sources(options, partitions, limits)
}

/** The positional sources of one application in one process; {@link openSources} makes it. */
export class Sources {
  readonly #options: SourcesOptions
  readonly #owner: OwnerOptions
  readonly #partitions: ReadonlyMap<string, number>
  readonly #homes: Map<number, SourceBinding[]>
  readonly #owners = new Map<number, PartitionOwner>()
  readonly #outcomes = new Map<number, OwnerOutcome>()
  /** What was written while the sources were this process' before; other processes count their own. */
  readonly #earlier = new Map<string, SourceCounts>()
  /** Per source, where it stood when it became this process', and where it was seen last. */
  readonly #before = new Map<string, SourceRecord>()
  readonly #last = new Map<string, SourceRecord>()
  #assigned: { readonly stop: AbortController; readonly done: Promise<void> } | null = null
  #consumer: GroupConsumer | null = null
  #fatal: { readonly error: unknown } | null = null
  #endMarkMs: number | null = null
  /** The end mark failed: its writer is of no use any more. */
  #mustReopen = false
  #fencedAtMs: number | null = null

  constructor(
    options: SourcesOptions,
    partitions: ReadonlyMap<string, number>,
    batchLimits: ReadonlyMap<string, number>,
  ) {
    this.#options = options
    this.#partitions = partitions
    const { log, application, deadLetterSchemaId, finite = false, clock = systemClock, gate } = options
    const { maxRecords = 10_000, maxBytes = 1 << 20, maxMs = 200 } = options.transaction ?? {}
    this.#owner = {
      log,
      application,
      deadLetterSchemaId,
      finite,
      clock,
      limits: { maxRecords, maxBytes, maxMs },
      firstBackoffMs: options.backoffMs ?? 100,
      partitions,
      batchLimits,
      notice: (notice) => options.notice?.(notice),
      ...(gate && { gate }),
    }
    const homes = partitions.get(sourcesTopic(application))!
    this.#homes = Map.groupBy(options.sources, ({ name }) => partitionOfSource(name, homes))
  }

  /**
   * Reads and writes until the inputs have ended (finite), or until the signal aborts, which ends it at a
   * transaction boundary.
   * @throws SourceError when an input does not fit its position or cannot be read; nothing of it is lost
   */
  async run(signal: AbortSignal): Promise<SourcesSummary> {
    const { log, application } = this.#options
    const consumer = log.groupConsumer({
      groupId: `${application}-sources`,
      topics: [[sourcesTopic(application)]],
      onRevoke: () => this.#release(),
      onAssign: async (partitions) => this.#take(partitions),
    })
    this.#consumer = consumer
    const wake = (): void => consumer.wakeup()
    signal.addEventListener('abort', wake)
    try {
      for (;;) {
        if (signal.aborted) break
        await consumer.poll(POLL_BYTES, POLL_MS)
        this.#throwIfFailed()
        const outcome = await this.#outcome(signal)
        if (outcome !== null) return { ...this.#summary(outcome), outcome }
      }
    } finally {
      signal.removeEventListener('abort', wake)
      await this.#release()
      await consumer.close()
    }
    this.#throwIfFailed()
    return this.#summary('stopped')
  }

  /** Committed figures of this run, with where each reader is. */
  progress(): SourceProgress[] {
    this.#look()
    const states = new Map([...this.#owners.values()].flatMap((owner) => [...owner.states()]))
    return this.#options.sources.map(({ name }) => ({
      ...this.#counts(name),
      t: this.#last.get(name)?.t ?? null,
      reader: states.get(name)?.reader ?? { files: [] },
    }))
  }

  #take(partitions: readonly TopicPartition[]): void {
    this.#fencedAtMs = null
    for (const { partition } of partitions) {
      const bindings = this.#homes.get(partition)
      if (bindings !== undefined)
        this.#owners.set(partition, new PartitionOwner(partition, bindings, this.#owner))
    }
    const stop = new AbortController()
    // Not awaited: to verify gigabytes takes longer than a session, and the group must go on being polled.
    this.#assigned = { stop, done: this.#own([...this.#owners.values()], stop.signal) }
  }

  /** Opens all sources before the first one writes, so that a refused input leaves nothing half done. */
  async #own(owners: readonly PartitionOwner[], stop: AbortSignal): Promise<void> {
    try {
      const opened = await Promise.all(owners.map((owner) => owner.open(stop)))
      this.#look()
      const ends = this.#ends(owners)
      const running = owners.map(async (owner, index) => {
        const first = opened[index]!
        const outcome = first === 'open' ? await owner.pump(stop, ends) : first
        this.#outcomes.set(owner.partition, outcome)
        if (outcome === 'fenced') this.#noteFenced(owner)
        this.#consumer?.wakeup()
      })
      await Promise.all(running)
    } catch (error) {
      this.#fatal = { error }
      this.#assigned?.stop.abort()
      this.#consumer?.wakeup()
    }
  }

  /**
   * What has to be read to its end before this process' sources end. Whoever is to write the end mark waits for the
   * others' sources as well: they come to it when they are read.
   */
  #ends(owners: readonly PartitionOwner[]): Ends {
    const all = this.#options.sources.map(({ name }) => name)
    return new Ends(this.#mustEndAll() ? all : owners.flatMap(({ sources }) => sources))
  }

  /** Ends the sources at a transaction boundary; awaited before the group moves on. */
  async #release(): Promise<void> {
    const assigned = this.#assigned
    this.#assigned = null
    assigned?.stop.abort()
    await assigned?.done
    this.#look()
    for (const name of this.#before.keys()) this.#earlier.set(name, this.#counts(name))
    this.#before.clear()
    for (const owner of this.#owners.values()) await owner.close()
    this.#owners.clear()
    this.#outcomes.clear()
    this.#mustReopen = false
  }

  /** How the run has ended, or null while it goes on. */
  async #outcome(signal: AbortSignal): Promise<'ended' | 'handed-over' | null> {
    if (!this.#owner.finite || this.#owners.size === 0) return null
    const outcomes = [...this.#owners.keys()].map((partition) => this.#outcomes.get(partition))
    if (outcomes.some((outcome) => outcome !== 'ended')) return null
    if (!this.#mustEndAll()) return 'handed-over'
    if (this.#owners.size < this.#homes.size) return null
    const isWritten = await this.#writeEndMark(signal)
    return isWritten && !signal.aborted ? 'ended' : null
  }

  /**
   * The end mark is one transaction over all sources, so one process must have them all: whoever has the first one
   * stays, the others leave it theirs.
   */
  #mustEndAll(): boolean {
    return this.#owners.has(this.#homes.keys().next().value!)
  }

  /**
   * One transaction: the end mark into every partition of every source topic, and in each source's record
   * that it has ended (design §7). A crash before it leaves the sources unended, and the next run writes it.
   * After an error the group is polled first: others may have the sources by now.
   * @returns whether it stands
   */
  async #writeEndMark(signal: AbortSignal): Promise<boolean> {
    const writer = [...this.#owners.values()][0]!
    if (this.#mustReopen) {
      const outcome = await writer.open(signal)
      if (outcome === 'fenced') this.#noteFenced(writer)
      if (outcome !== 'open') return false
      this.#mustReopen = false
    }
    try {
      const records = new Map<string, SourceRecord>()
      for (const owner of this.#owners.values()) {
        for (const [name, record] of await owner.stored(signal)) records.set(name, record)
      }
      const found = [...records.values()]
      if (found.every(({ isEnded }) => isEnded)) return true
      const e = Math.max(...found.map(({ unclosedE }) => unclosedE ?? -Infinity))
      await writer.commit(this.#endMarks(e, records))
      if (e !== -Infinity) this.#endMarkMs = e
      return true
    } catch (error) {
      if (isEndOf(signal, error)) return false
      if (!isPassing(error)) throw error
      if (error.code === 'FENCED') {
        this.#noteFenced(writer)
        return false
      }
      this.#mustReopen = true
      await writer.backOff(error, signal)
      return false
    }
  }

  /** Another process has the sources of this owner, or is about to. */
  #noteFenced(owner: PartitionOwner): void {
    this.#outcomes.set(owner.partition, 'fenced')
    this.#fencedAtMs = this.#owner.clock.nowMs()
    const source = owner.sources.join(', ')
    this.#owner.notice({
      code: 'FENCED',
      source,
      message: 'another process has taken over; writing no more.',
    })
  }

  #endMarks(e: number, records: ReadonlyMap<string, SourceRecord>): TransactionContent[] {
    const { application, sources } = this.#options
    const marked = new Set<string>()
    const contents: TransactionContent[] = []
    for (const { name, topic } of sources) {
      const homes = this.#partitions.get(sourcesTopic(application))!
      const marks = new TransactionContent({
        topic,
        partitions: this.#partitions.get(topic)!,
        deadLetters: deadLettersTopic(application),
        deadLettersPartition: 0,
        positions: sourcesTopic(application),
        positionsPartition: partitionOfSource(name, homes),
      })
      // Two sources may fill one topic; it wants one mark, unless there is nothing to close.
      if (!marked.has(topic) && e !== -Infinity) marks.markAll({ kind: 'end', e })
      marked.add(topic)
      marks.store(
        encodeSourceRecord(name, { ...(records.get(name) ?? NEW_SOURCE), unclosedE: null, isEnded: true }),
      )
      contents.push(marks)
    }
    return contents
  }

  #throwIfFailed(): void {
    if (this.#fatal !== null) throw this.#fatal.error
    if (this.#fencedAtMs === null || this.#owner.clock.nowMs() - this.#fencedAtMs < FENCED_GRACE_MS) return
    const { application } = this.#options
    throw new SourceError(
      'SOURCE_FENCED',
      `another process writes the sources of '${application}' without being in the group '${application}-sources', ` +
        `which still counts them as this process'. Stop one of the two: they have the same application name.`,
    )
  }

  /** Notes where the sources are: the counts of a run are differences. */
  #look(): void {
    for (const owner of this.#owners.values()) {
      for (const [name, { record }] of owner.states()) {
        if (!this.#before.has(name)) this.#before.set(name, record)
        this.#last.set(name, record)
      }
    }
  }

  #counts(name: string): SourceCounts {
    const earlier = this.#earlier.get(name)
    const before = this.#before.get(name)
    const now = before === undefined ? undefined : this.#last.get(name)
    const count = (field: 'processed' | 'invalid' | 'behindWatermark' | 'bytes'): number =>
      (earlier?.[field] ?? 0) + (now?.[field] ?? 0) - (before?.[field] ?? 0)
    return {
      name,
      processed: count('processed'),
      invalid: count('invalid'),
      behindWatermark: count('behindWatermark'),
      bytes: count('bytes'),
    }
  }

  #summary(outcome: SourcesSummary['outcome']): SourcesSummary {
    this.#look()
    const sources = this.#options.sources.map(({ name }) => this.#counts(name))
    return { sources, endMarkMs: this.#endMarkMs, outcome }
  }
}
