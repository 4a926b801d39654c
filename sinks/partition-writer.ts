import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../config/clock.ts'
import type { RecordBatch } from '../log/batch.ts'
import { LogError } from '../log/errors.ts'
import { RegistryError } from '../schemas/errors.ts'
import type { OpenedPartition } from './open-partitions.ts'
import { Backoff, type BackoffOptions } from '../config/backoff.ts'
import { PartitionQueue, type BatchLimits, type RefusedRecord, type Taken } from './partition-queue.ts'
import { RowsRefused, SinkError, type RowBatch, type Sink } from './port.ts'
import type { WriterSchemas } from './writer-schemas.ts'

/** What a partition's writer asks of its runner. */
export interface PartitionHost {
  readonly sink: Sink
  readonly schemas: WriterSchemas
  readonly clock: Clock
  readonly limits: BatchLimits & { readonly maxDelayMs: number }
  readonly backoff: BackoffOptions
  /** Somebody waits for what is in the log now: nothing is held back to make larger batches. */
  readonly inHurry: boolean
  /** Where the partition stands now, by destination and group. */
  reopen(partition: PartitionWriter): Promise<OpenedPartition>
  /** The dead letters and the position behind them, in one transaction. */
  deadLetter(partition: PartitionWriter, records: readonly RefusedRecord[], next: number): Promise<void>
  /** The partition has moved: what lies below its position is durable. */
  moved(partition: PartitionWriter, rows: number): void
  waiting(error: Error, retryInMs: number): void
  failed(error: Error): void
}

interface InFlight {
  readonly batch: RowBatch
  readonly outcome: Promise<{ readonly note: string | null } | { readonly error: unknown }>
}

/**
 * Takes one partition's records to the destination, in order. One loop: start writes up to the destination's
 * limit, wait for the oldest, move on. After an error everything in flight is awaited, then the loop goes back
 * to the last durable position; where the outcome is unknown, the destination is asked for it first.
 */
export class PartitionWriter {
  readonly topic: string
  readonly partition: number
  readonly incarnation: string
  readonly #host: PartitionHost
  readonly #queue: PartitionQueue
  readonly #closing = new AbortController()
  readonly #backoff: Backoff
  readonly #inFlight: InFlight[] = []
  #position: number
  /** Where the destination stands once all that is in flight is durable. */
  #base: number | null
  #held: number | null
  #note: string | null
  #fencedTries = 0
  #working: Promise<void> | null = null

  constructor(host: PartitionHost, opened: OpenedPartition) {
    this.topic = opened.topic
    this.partition = opened.partition
    this.incarnation = opened.incarnation
    this.#host = host
    this.#queue = new PartitionQueue(opened.next, host.schemas)
    this.#backoff = new Backoff(host.backoff)
    this.#position = opened.next
    this.#base = opened.base
    this.#held = opened.base
    this.#note = opened.note
  }

  /** Everything below is in the destination, or among the dead letters, or a mark. */
  get position(): number {
    return this.#position
  }

  /** Where the destination stands, as far as is known for sure; null: nowhere. */
  get held(): number | null {
    return this.#held
  }

  get note(): string | null {
    return this.#note
  }

  get heldBytes(): number {
    return this.#queue.heldBytes
  }

  /** Nothing is queued, nothing is in flight. */
  get isIdle(): boolean {
    return this.#working === null && this.#queue.waitingRecords === 0
  }

  /** How long until what is queued has waited enough; Infinity: nothing to wait for. */
  dueInMs(): number {
    const isBusy = this.#working !== null || this.#closing.signal.aborted
    if (isBusy || this.#queue.waitingRecords === 0) return Number.POSITIVE_INFINITY
    if (this.#isDue()) return 0
    return this.#queue.waitingSinceMs + this.#host.limits.maxDelayMs - this.#host.clock.nowMs()
  }

  add(batch: RecordBatch): void {
    this.#queue.add(batch, this.#host.clock.nowMs())
  }

  /** There was nothing to read up to `next`. */
  skipTo(next: number): void {
    if (this.isIdle && next > this.#position) this.#advance(next, 0)
  }

  /** Starts writing what is due, unless that is under way. */
  pump(): void {
    if (this.#working !== null || this.#closing.signal.aborted || !this.#isDue()) return
    this.#working = this.#work()
      .catch((error: unknown) => {
        const isClosing = this.#closing.signal.aborted
        // What was taken from the queue and not dealt with must not be passed over by a later start.
        this.#closing.abort()
        if (!isClosing) this.#host.failed(error as Error)
      })
      .finally(() => {
        this.#working = null
        this.#host.moved(this, 0)
      })
  }

  /** Starts nothing more; resolves when nothing is in flight. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#working
  }

  #isDue(): boolean {
    const { limits, clock, inHurry } = this.#host
    const { waitingRecords, waitingBytes, waitingSinceMs } = this.#queue
    if (waitingRecords === 0) return false
    return (
      inHurry ||
      waitingRecords >= limits.maxRows ||
      waitingBytes >= limits.maxBytes ||
      clock.nowMs() - waitingSinceMs >= limits.maxDelayMs
    )
  }

  async #work(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        if (!(await this.#step())) return
      } catch (error) {
        await this.#settleInFlight()
        await this.#recoverFrom(error)
      }
    }
    await this.#settleInFlight()
  }

  /** False: nothing is left to do for now. */
  async #step(): Promise<boolean> {
    const { sink, schemas, limits } = this.#host
    if (this.#inFlight.length < sink.maxWritesInFlight && this.#isDue()) {
      const taken = this.#queue.take(limits)
      if (taken.kind === 'rows') {
        this.#start(taken)
        return true
      }
      // All else is a barrier: what precedes it is durable first.
      while (this.#inFlight.length > 0) await this.#awaitOldest()
      if (taken.kind === 'load') await this.#load(schemas, taken.schemaId)
      if (taken.kind === 'skipped') this.#advance(taken.next, 0)
      if (taken.kind === 'refused') await this.#deadLetter(taken)
      return true
    }
    if (this.#inFlight.length === 0) return false
    await this.#awaitOldest()
    return true
  }

  #start({ spans, count, bytes, next }: Taken & { kind: 'rows' }): void {
    const { topic, partition, incarnation } = this
    const batch: RowBatch = { topic, partition, incarnation, base: this.#base, next, spans, count, bytes }
    this.#base = next
    const outcome = this.#host.sink.write(batch).then(
      (note) => ({ note }),
      (error: unknown) => ({ error }),
    )
    this.#inFlight.push({ batch, outcome })
  }

  async #awaitOldest(): Promise<void> {
    const { batch, outcome } = this.#inFlight[0]!
    const result = await outcome
    if ('error' in result) {
      if (result.error instanceof RowsRefused) this.#queue.refuse(batch, result.error.rows)
      throw result.error
    }
    this.#inFlight.shift()
    this.#held = batch.next
    this.#note = result.note
    this.#backoff.reset()
    this.#advance(batch.next, batch.count)
  }

  #advance(next: number, rows: number): void {
    this.#position = next
    this.#queue.release(next)
    this.#host.moved(this, rows)
  }

  async #load(schemas: WriterSchemas, schemaId: number): Promise<void> {
    try {
      await schemas.load(schemaId)
    } catch (error) {
      throw new SinkError(
        'UNAVAILABLE',
        `The schema registry does not answer about schema ${schemaId}: ${(error as Error).message}`,
        { cause: error },
      )
    }
  }

  async #deadLetter({ records, next }: Taken & { kind: 'refused' }): Promise<void> {
    await this.#host.deadLetter(this, records, next)
    this.#fencedTries = 0
    this.#backoff.reset()
    this.#advance(next, 0)
  }

  async #settleInFlight(): Promise<void> {
    await Promise.all(this.#inFlight.map(({ outcome }) => outcome))
    this.#inFlight.length = 0
  }

  /** Pauses where that helps, and goes back to what is known to be durable. */
  async #recoverFrom(error: unknown): Promise<void> {
    if (error instanceof RowsRefused) {
      this.#base = this.#held
      this.#queue.rewind(this.#position)
      return
    }
    const isStale = error instanceof SinkError && error.code === 'STALE_POSITION'
    if (error instanceof LogError && error.code === 'STALE_GENERATION') {
      // The group has moved on: the next poll revokes this partition.
      this.#closing.abort()
      return
    }
    if (
      !isStale &&
      !isTemporary(error, error instanceof LogError && error.code === 'FENCED' ? ++this.#fencedTries : 0)
    ) {
      throw error
    }
    // The first stale position is asked about at once; somebody who keeps moving it is not raced.
    if (!isStale || this.#backoff.tries > 0) await this.#pause(error as Error)
    else this.#backoff.nextMs()
    if (this.#closing.signal.aborted) return
    await this.#reopen()
  }

  async #pause(error: Error): Promise<void> {
    const retryInMs = this.#backoff.nextMs()
    this.#host.waiting(error, retryInMs)
    await sleep(retryInMs, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  async #reopen(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        const opened = await this.#host.reopen(this)
        this.#goOnFrom(opened)
        return
      } catch (error) {
        if (!isTemporary(error, 0)) throw error
        await this.#pause(error as Error)
      }
    }
  }

  #goOnFrom({ next, base, note }: OpenedPartition): void {
    if (this.#host.sink.keepsPositions && (base ?? -1) < (this.#held ?? -1)) {
      throw new SinkError(
        'POSITION_MISMATCH',
        `${this.#host.sink.destination} held ${this.topic}, partition ${this.partition}, up to offset ` +
          `${this.#held ?? 0} and is now at ${base ?? 'nothing'}: it was changed under the running sink. ` +
          `Start again to have the rows written anew, once nobody else changes the table.`,
      )
    }
    this.#base = base
    this.#held = base
    this.#note = note
    // Marks behind the destination's position have been passed already; they are in no commit yet.
    const position = Math.max(next, this.#position)
    this.#queue.rewind(position)
    if (position > this.#position) this.#advance(position, 0)
  }
}

/** Whether the same may work later. A second fencing in a row means that two processes share an instance id. */
export function isTemporary(error: unknown, fencedTries: number): boolean {
  if (error instanceof SinkError || error instanceof RegistryError) return error.code === 'UNAVAILABLE'
  if (!(error instanceof LogError)) return false
  if (error.code === 'FENCED') return fencedTries < 2
  return ['OUTCOME_UNKNOWN', 'TRANSACTION_TIMED_OUT', 'STORAGE', 'UNAVAILABLE'].includes(error.code)
}
