import { systemClock, type Clock } from '../config/clock.ts'
import { LogError } from '../log/errors.ts'
import type { GroupConsumer, GroupMetadata, TopicPartition } from '../log/port.ts'
import { Backoff } from '../config/backoff.ts'
import { DeadLetterWriter } from './dead-letter-writer.ts'
import { DurableWaiters, type DurableTarget } from './durable-waiters.ts'
import { commitOf, openPartitions, type OpenedPartition, type Standing } from './open-partitions.ts'
import type { RefusedRecord } from './partition-queue.ts'
import { isTemporary, PartitionWriter, type PartitionHost } from './partition-writer.ts'
import { SinkError } from './port.ts'
import type { SinkEvent, SinkRunnerOptions } from './runner-options.ts'
import { WriterSchemas } from './writer-schemas.ts'

export type { SinkEvent, SinkRunnerOptions } from './runner-options.ts'

const MAX_FETCH_BYTES = 4 * 2 ** 20
/** A poll returns at least this often, so that commits and stops are not late. */
const POLL_MS = 500

/** The group of those that take a topic to a destination. */
export function sinkGroupId(application: string, destination: string): string {
  return `${application}.sink.${destination}`
}

/** Takes one topic to one destination, as a member of {@link sinkGroupId}. */
export class SinkRunner {
  readonly groupId: string
  readonly topic: string
  readonly destination: string
  readonly #options: SinkRunnerOptions
  readonly #clock: Clock
  readonly #maxHeldBytes: number
  readonly #commitIntervalMs: number
  readonly #schemas: WriterSchemas
  readonly #deadLetters: DeadLetterWriter
  readonly #backoff: Backoff
  readonly #host: PartitionHost
  readonly #waiters = new DurableWaiters()
  /** By partition number. */
  readonly #partitions = new Map<number, PartitionWriter>()
  readonly #committed = new Map<number, number>()
  /** Partitions with a transaction of dead letters of which it is not known whether it was committed. */
  readonly #undecided = new Set<number>()
  #consumer: GroupConsumer | null = null
  #group: GroupMetadata | null = null
  /** Commits and dead letters' transactions, one after the other: a commit must not land behind a later one. */
  #commits: Promise<void> = Promise.resolve()
  #lastCommitMs = 0
  #paused = false
  #waitingSinceMs: number | null = null
  #failure: Error | null = null
  #stopping = false
  readonly #pauses = new Set<() => void>()
  #rowsWritten = 0
  #rowsRefused = 0

  constructor(options: SinkRunnerOptions) {
    const { application, sink, log, registry, pipeline, instance, clock = systemClock } = options
    this.#options = options
    this.topic = options.topic
    this.destination = sink.destination
    this.groupId = sinkGroupId(application, sink.destination)
    this.#clock = clock
    this.#maxHeldBytes = options.maxHeldBytes ?? 32 * 2 ** 20
    this.#commitIntervalMs = options.commitIntervalMs ?? 1_000
    this.#schemas = new WriterSchemas(registry)
    this.#deadLetters = new DeadLetterWriter({
      log,
      registry,
      pipeline,
      clock,
      topic: `${application}.dead-letters`,
      transactionalId: `${application}-sink-${sink.destination}-${instance}`,
    })
    this.#host = this.#hostOf(options, clock)
    this.#backoff = new Backoff(this.#host.backoff)
  }

  /** Rows that became durable through this runner. */
  get rowsWritten(): number {
    return this.#rowsWritten
  }

  /** Records that became dead letters. */
  get rowsRefused(): number {
    return this.#rowsRefused
  }

  /** Where each of its partitions stands: everything below is durable. */
  get positions(): { readonly partition: number; readonly next: number }[] {
    return [...this.#partitions.values()].map(({ partition, position }) => ({ partition, next: position }))
  }

  /** Records in memory: waiting to be written, or being written. */
  get heldBytes(): number {
    let held = 0
    for (const writer of this.#partitions.values()) held += writer.heldBytes
    return held
  }

  /** Records of its partitions that are in the log and not yet in the destination, marks included. */
  async lag(): Promise<number> {
    const writers = [...this.#partitions.values()]
    const offsets = await this.#options.log.admin.offsets(
      writers.map(({ partition }) => this.#named(partition)),
    )
    return offsets.reduce((sum, { stable }, i) => sum + Math.max(0, stable - writers[i]!.position), 0)
  }

  /**
   * Resolves when everything below these offsets is durable. Partitions that another member has are waited for
   * until they come here.
   * @throws what ends the run, or SinkError UNUSABLE when it is stopped before
   */
  whenDurable(targets: readonly DurableTarget[]): Promise<void> {
    if (this.#failure !== null || this.#stopping) return Promise.reject(this.#failure ?? this.#stopped())
    const durable = this.#waiters.add(targets)
    this.#checkWaiters()
    // Those who wait are in a hurry: nothing is held back for larger batches.
    this.#consumer?.wakeup()
    return durable
  }

  /**
   * Has the destination do what it put off, as the input has ended. Ends early, undone, when the run is stopped.
   * @throws SinkError, LogError: what cannot be mended by trying again
   */
  async flush(): Promise<void> {
    const { sink } = this.#options
    while (!this.#stopping) {
      try {
        await sink.flush?.()
        return
      } catch (error) {
        if (!isTemporary(error, 0)) throw error
        const retryInMs = this.#backoff.nextMs()
        this.#host.waiting(error as Error, retryInMs)
        await this.#pause(retryInMs)
      }
    }
  }

  /** Runs until `signal` or `stop()`. @throws SinkError, LogError: what cannot be mended by trying again */
  async run(signal?: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.stop()
    }
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) this.#stopping = true
    try {
      while (!this.#stopping) await this.runOnce()
    } catch (error) {
      this.#failure ??= error as Error
      // What ended the run is the error to see, not what follows from it.
      await this.#close().catch(() => undefined)
      throw error
    } finally {
      signal?.removeEventListener('abort', stop)
    }
    await this.#close()
  }

  /**
   * One turn: joins where needed, reads what there is (waiting for it a little), starts the writes that are
   * due and commits what is durable. The first turn prepares the destination.
   */
  async runOnce(): Promise<void> {
    try {
      const consumer = (this.#consumer ??= await this.#open())
      this.#throttle(consumer)
      for (const batch of await consumer.poll(
        Math.min(MAX_FETCH_BYTES, this.#maxHeldBytes),
        this.#pollMs(),
      )) {
        this.#partitions.get(batch.partition)?.add(batch)
      }
      for (const writer of this.#partitions.values()) writer.pump()
      if (!this.#waiters.isEmpty) await this.#passEmptyEnds()
      if (this.#clock.nowMs() - this.#lastCommitMs >= this.#commitIntervalMs) await this.#commit()
    } catch (error) {
      if (!isTemporary(error, 0)) throw error
      const retryInMs = this.#backoff.nextMs()
      this.#host.waiting(error as Error, retryInMs)
      await this.#pause(retryInMs)
    }
    if (this.#failure !== null) throw this.#failure
  }

  /** Ends `run` once what is in flight is durable; what waits is left to the next run. */
  stop(): void {
    this.#stopping = true
    for (const end of this.#pauses) end()
    this.#consumer?.wakeup()
  }

  #hostOf(options: SinkRunnerOptions, clock: Clock): PartitionHost {
    const runner = (): SinkRunner => this
    return {
      sink: options.sink,
      schemas: this.#schemas,
      clock,
      limits: {
        maxRows: options.maxRows ?? 20_000,
        maxBytes: options.maxBytes ?? 8 * 2 ** 20,
        maxDelayMs: options.maxDelayMs ?? 200,
      },
      backoff: {
        initialMs: options.initialBackoffMs ?? 100,
        maxMs: options.maxBackoffMs ?? 10_000,
        random: options.random ?? Math.random,
      },
      get inHurry() {
        return !runner().#waiters.isEmpty
      },
      reopen: async ({ partition }) => {
        const [opened] = await this.#openPartitions([this.#named(partition)])
        this.#undecided.delete(partition)
        return opened!
      },
      deadLetter: (writer, records, next) => this.#deadLetter(writer, records, next),
      moved: (_writer, rows) => this.#moved(rows),
      waiting: (error, retryInMs) => this.#waiting(error, retryInMs),
      failed: (error) => this.#fail(error),
    }
  }

  async #open(): Promise<GroupConsumer> {
    const { log, sink, topic } = this.#options
    const changes = await sink.prepare()
    if (changes.length > 0) this.#report({ kind: 'prepared', destination: this.destination, changes })
    return log.groupConsumer({
      groupId: this.groupId,
      topics: [[topic]],
      onRevoke: () => this.#revoke(),
      onAssign: (partitions, group) => this.#assign(partitions, group),
    })
  }

  async #assign(partitions: readonly TopicPartition[], group: GroupMetadata): Promise<void> {
    this.#group = group
    const opened = await this.#openPartitions(partitions)
    this.#paused = false
    for (const start of opened) {
      this.#partitions.set(start.partition, new PartitionWriter(this.#host, start))
      this.#consumer!.seek(start, start.next)
      if (start.rewritesBelow !== null) {
        const { topic, partition, next: from, rewritesBelow: until } = start
        this.#report({ kind: 'rewriting', destination: this.destination, topic, partition, from, until })
      }
    }
    this.#checkWaiters()
  }

  /** Finishes what is in flight and commits it, while the old generation may still do so. */
  async #revoke(): Promise<void> {
    await Promise.all([...this.#partitions.values()].map((writer) => writer.close()))
    try {
      await this.#commit()
    } finally {
      this.#partitions.clear()
      this.#committed.clear()
      this.#undecided.clear()
      this.#group = null
    }
  }

  /** Where the partitions stand. What the sink wants to find again is committed first, whatever its next write does. */
  async #openPartitions(partitions: readonly TopicPartition[]): Promise<OpenedPartition[]> {
    const { log, sink, topic } = this.#options
    const committed = await this.#consumer!.committed(partitions)
    const { opened, renoted } = await openPartitions({ log, sink, topic, partitions, committed })
    if (renoted.length > 0 && this.#group !== null) {
      await this.#consumer!.commitOffsets(renoted.map(commitOf), this.#group)
    }
    return opened
  }

  async #deadLetter(writer: PartitionWriter, records: readonly RefusedRecord[], next: number): Promise<void> {
    const { topic, partition } = writer
    const position = commitOf({ ...standing(writer), next })
    await this.#exclusively(async () => {
      const group = this.#group
      if (group === null)
        throw new LogError('STALE_GENERATION', `${this.groupId} was revoked: poll to join again`)
      this.#undecided.add(partition)
      await this.#deadLetters.write(topic, records, position, group)
      this.#undecided.delete(partition)
      this.#committed.set(partition, next)
    })
    const { offset, reason } = records[0]!
    this.#rowsRefused += records.length
    const count = records.length
    this.#report({ kind: 'refused', destination: this.destination, topic, partition, offset, reason, count })
  }

  async #commit(): Promise<void> {
    this.#lastCommitMs = this.#clock.nowMs()
    await this.#exclusively(async () => {
      // An older position must not be committed over one that such a transaction may have committed.
      const moved = [...this.#partitions.values()].filter(
        ({ partition, position }) =>
          this.#committed.get(partition) !== position && !this.#undecided.has(partition),
      )
      if (moved.length === 0 || this.#group === null) return
      const offsets = moved.map((writer) => commitOf(standing(writer)))
      try {
        await this.#consumer!.commitOffsets(offsets, this.#group)
      } catch (error) {
        // The next poll joins again, and finds out there where things stand.
        if (error instanceof LogError && error.code === 'STALE_GENERATION') return
        throw error
      }
      for (const { partition, offset } of offsets) this.#committed.set(partition, offset)
    })
  }

  #exclusively(action: () => Promise<void>): Promise<void> {
    const done = this.#commits.then(action)
    this.#commits = done.catch(() => undefined)
    return done
  }

  /** Reading pauses while too much is held, and goes on at half of that. Polls go on: they keep the membership. */
  #throttle(consumer: GroupConsumer): void {
    const held = this.heldBytes
    const partitions = [...this.#partitions.keys()].map((partition) => this.#named(partition))
    if (!this.#paused && held >= this.#maxHeldBytes) {
      this.#paused = true
      consumer.pause(partitions)
    } else if (this.#paused && held < this.#maxHeldBytes / 2) {
      this.#paused = false
      consumer.resume(partitions)
    }
  }

  #pollMs(): number {
    let wait = POLL_MS
    for (const writer of this.#partitions.values()) wait = Math.min(wait, writer.dueInMs())
    return Math.max(0, wait)
  }

  /** Records of aborted transactions at a partition's end are never given: only a reader shows that nothing follows. */
  async #passEmptyEnds(): Promise<void> {
    for (const writer of this.#partitions.values()) {
      if (!writer.isIdle || writer.position >= this.#waiters.wanted(writer.partition)) continue
      const reader = this.#options.log.partitionReader(this.#named(writer.partition), writer.position)
      try {
        if ((await reader.read(1)) === null) writer.skipTo(reader.position)
      } finally {
        await reader.close()
      }
    }
  }

  #moved(rows: number): void {
    this.#rowsWritten += rows
    if (rows > 0 && this.#waitingSinceMs !== null) {
      const waitedMs = this.#clock.nowMs() - this.#waitingSinceMs
      this.#waitingSinceMs = null
      this.#report({ kind: 'resumed', destination: this.destination, waitedMs })
    }
    if (rows > 0) this.#backoff.reset()
    this.#checkWaiters()
    // A poll may be waiting longer than what is queued, or paused.
    this.#consumer?.wakeup()
  }

  #checkWaiters(): void {
    this.#waiters.check((partition) => this.#partitions.get(partition)?.position)
  }

  #waiting(error: Error, retryInMs: number): void {
    if (this.#waitingSinceMs !== null) return
    this.#waitingSinceMs = this.#clock.nowMs()
    this.#report({ kind: 'waiting', destination: this.destination, error, retryInMs })
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#consumer?.wakeup()
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#pauses.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#pauses.add(end)
    })
  }

  async #close(): Promise<void> {
    this.#stopping = true
    this.#waiters.reject(this.#failure ?? this.#stopped())
    // Revokes: what is in flight is finished and committed.
    await this.#consumer?.close()
    await this.#deadLetters.close()
  }

  #stopped(): SinkError {
    return new SinkError('UNUSABLE', `The sink of ${this.destination} was stopped.`)
  }

  #named(partition: number): TopicPartition {
    return { topic: this.topic, partition }
  }

  #report(event: SinkEvent): void {
    this.#options.report(event)
  }
}

/** What is committed for a partition as it stands. */
function standing({ topic, partition, position, held, incarnation, note }: PartitionWriter): Standing {
  return { topic, partition, next: position, base: held, incarnation, note }
}
