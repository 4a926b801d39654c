import { systemTimer, type Clock } from '../config/clock.ts'
import { BatchBuilder, type ProduceBatch } from '../log/batch.ts'
import { LogError } from '../log/errors.ts'
import { lastValues } from '../log/last-values.ts'
import type { Log, TransactionalProducer } from '../log/port.ts'
import type { SourceNotice } from './errors.ts'
import {
  decodeSourceRecord,
  deadLettersTopic,
  keys,
  partitionOfSource,
  sourcesTopic,
  type SourceRecord,
} from './positions.ts'
import type { ReaderProgress, SourceInput, SourceReader } from './reader.ts'
import { linger, pump, type Ends } from './source-pump.ts'
import { SourceWriter, type SourceContract, type TransactionLimits } from './source-writer.ts'
import type { TransactionContent } from './transaction.ts'

/** A logical source and what it is bound to. */
export interface SourceBinding {
  /** The pipeline's name of it, such as `orders`; heartbeats and counters carry it. */
  readonly name: string
  /** The topic that it fills. */
  readonly topic: string
  readonly contract: SourceContract
  /** Of the contract's source schema in the registry. */
  readonly schemaId: number
  readonly input: SourceInput
}

export interface OwnerOptions {
  readonly log: Log
  readonly application: string
  readonly deadLetterSchemaId: number
  readonly finite: boolean
  readonly clock: Clock
  readonly limits: Required<TransactionLimits>
  readonly firstBackoffMs: number
  /** Partitions of each source's topic, of the dead letters and of the positions, by topic. */
  readonly partitions: ReadonlyMap<string, number>
  /** What each of them takes at once, by topic; Infinity: anything. */
  readonly batchLimits: ReadonlyMap<string, number>
  gate?(): Promise<void> | undefined
  notice(notice: SourceNotice): void
}

interface OpenSource {
  readonly binding: SourceBinding
  readonly reader: SourceReader
  readonly writer: SourceWriter
}

export interface SourceState {
  readonly record: SourceRecord
  readonly reader: ReaderProgress
}

/** `ended`: its finite sources are read · `fenced`: another process owns the partition now. */
export type OwnerOutcome = 'ended' | 'stopped' | 'fenced'

const MAX_BACKOFF_MS = 5_000

/** What another attempt cannot mend, or would only repeat. */
const FATAL: ReadonlySet<string> = new Set([
  'UNKNOWN_TOPIC',
  'RECORD_TOO_LARGE',
  'DAMAGED',
  'UNAUTHORIZED',
  'UNSUPPORTED_VERSION',
  'CLUSTER_CHANGED',
  'INVALID_STATE',
  'CLOSED',
])

/**
 * Owns one partition of the positions topic, and with it the sources whose records lie there (design
 * §4): one producer for them all, `<application>-source-<partition>`.
 *
 *        open ──► pump ──► ended / stopped
 *         ▲ │      │ any error of the log: discard, back off
 *         └─┼──────┘
 *           └──────┴──► fenced
 */
export class PartitionOwner {
  readonly partition: number
  readonly #options: OwnerOptions
  readonly #bindings: readonly SourceBinding[]
  #producer: TransactionalProducer | null = null
  #open: OpenSource[] = []
  #queue: Promise<void> = Promise.resolve()
  #failed: Error | null = null
  /** The offset of the last record that this owner has committed to its positions. */
  #barrier = -1
  #failures = 0

  constructor(partition: number, bindings: readonly SourceBinding[], options: OwnerOptions) {
    this.partition = partition
    this.#bindings = bindings
    this.#options = options
  }

  get sources(): readonly string[] {
    return this.#bindings.map(({ name }) => name)
  }

  /**
   * Fences whoever wrote before, reads where the sources stand and opens them there. Retried until it is
   * stopped. @throws SourceError when an input does not fit its position
   */
  async open(stop: AbortSignal): Promise<OwnerOutcome | 'open'> {
    return this.#retrying(stop, async () => {
      await this.#openOnce(stop)
      return 'open'
    })
  }

  /** Runs the opened sources until all have ended; opens them again after every error of the log. */
  async pump(stop: AbortSignal, ends: Ends): Promise<OwnerOutcome> {
    return this.#retrying(stop, async () => {
      if (this.#producer === null) await this.#openOnce(stop)
      return this.#pumpOnce(stop, ends)
    })
  }

  /** Commits it all in one transaction, behind what was handed in before. */
  async commit(contents: readonly TransactionContent[]): Promise<void> {
    const turn = this.#queue.then(() => this.#write(contents))
    this.#queue = turn.catch(() => undefined)
    await turn
  }

  /** Readers and writers as they are now, by source name. */
  states(): Map<string, SourceState> {
    const states = new Map<string, SourceState>()
    for (const { binding, reader, writer } of this.#open) {
      states.set(binding.name, { record: writer.committed, reader: reader.progress() })
    }
    return states
  }

  async close(): Promise<void> {
    const producer = this.#producer
    this.#producer = null
    for (const { reader } of this.#open) await reader.close()
    if (producer !== null) await producer.close().catch(() => undefined)
  }

  /** Where each source stands by the log; the owner must be open. */
  async stored(stop: AbortSignal): Promise<Map<string, SourceRecord>> {
    const stored = await this.#readPositions(stop)
    return new Map(this.sources.map((name) => [name, decodeSourceRecord(name, stored)]))
  }

  #readPositions(signal: AbortSignal): Promise<Map<string, string>> {
    const { log, application } = this.#options
    const onWait = (message: string): void => this.#say('RETRYING', message)
    const place = { topic: sourcesTopic(application), partition: this.partition }
    return lastValues(log, place, { signal, onWait, barrier: this.#barrier })
  }

  async #retrying<T extends string>(stop: AbortSignal, attempt: () => Promise<T>): Promise<T | OwnerOutcome> {
    for (;;) {
      if (stop.aborted) return 'stopped'
      try {
        return await attempt()
      } catch (error) {
        await this.close()
        if (isEndOf(stop, error)) return 'stopped'
        if (!isPassing(error)) throw error
        if (error.code === 'FENCED') return 'fenced'
        await this.backOff(error, stop)
      }
    }
  }

  /** Waits, longer each time, after an error behind which all is opened again; said once until a write succeeds. */
  async backOff(error: LogError, stop: AbortSignal): Promise<void> {
    const backoffMs = Math.min(this.#options.firstBackoffMs * 2 ** this.#failures, MAX_BACKOFF_MS)
    if (this.#failures++ === 0) {
      this.#say(
        'RETRYING',
        `the log refused a write (${error.code}: ${error.message}); going on from the last commit.`,
      )
    }
    await systemTimer.sleep(backoffMs, stop)
  }

  async #openOnce(stop: AbortSignal): Promise<void> {
    const { log, application, finite, clock, notice } = this.#options
    await this.close()
    this.#failed = null
    this.#barrier = -1
    this.#queue = Promise.resolve()
    this.#open = []
    const producer = log.transactionalProducer({ transactionalId: `${application}-source-${this.partition}` })
    this.#producer = producer
    // Before the positions are read: from here on nobody else can move them (design §4).
    await producer.init()
    await this.#writeOpened(producer)
    const stored = await this.#readPositions(stop)
    for (const binding of this.#bindings) {
      if (stop.aborted) return
      const { name: source, input } = binding
      const reader = await input.open({ source, stored, finite, nowMs: clock.nowMs(), signal: stop, notice })
      this.#open.push({ binding, reader, writer: this.#writer(binding, decodeSourceRecord(source, stored)) })
    }
  }

  /** What lies before it is all that was ever committed here: a leader that tells an older end is not believed. */
  async #writeOpened(producer: TransactionalProducer): Promise<void> {
    const { application, clock } = this.#options
    const opened = new BatchBuilder(sourcesTopic(application), this.partition)
    const openedAt = new Date(clock.nowMs()).toISOString()
    opened.append(Buffer.from(keys.opened), Buffer.from(JSON.stringify({ openedAt })))
    await this.#transact(producer, [opened])
  }

  #writer({ name, topic, contract, schemaId, input }: SourceBinding, record: SourceRecord): SourceWriter {
    const { application, deadLetterSchemaId, clock, limits, partitions, batchLimits } = this.#options
    const deadLetters = deadLettersTopic(application)
    return new SourceWriter({
      name,
      application,
      contract,
      schemaId,
      deadLetterSchemaId,
      to: {
        topic,
        partitions: partitions.get(topic)!,
        deadLetters,
        deadLettersPartition: partitionOfSource(name, partitions.get(deadLetters)!),
        positions: sourcesTopic(application),
        positionsPartition: this.partition,
      },
      record,
      maxBytes: { records: batchLimits.get(topic)!, deadLetters: batchLimits.get(deadLetters)! },
      disorderMs: input.disorderMs ?? contract.disorderMs,
      clock,
      limits,
      commit: (content) => this.commit([content]),
    })
  }

  async #pumpOnce(stop: AbortSignal, ends: Ends): Promise<OwnerOutcome> {
    const { clock, gate } = this.#options
    const failure = new AbortController()
    const either = AbortSignal.any([stop, failure.signal])
    const pumps = this.#open.map(async ({ binding, reader, writer }) => {
      try {
        const outcome = await pump({ reader, writer, clock, stop: either, ...(gate && { gate }) })
        if (outcome === 'stopped') return
        ends.note(binding.name)
        await linger({ writer, clock, until: AbortSignal.any([either, ends.all]) })
      } catch (error) {
        failure.abort()
        throw error
      }
    })
    const results = await Promise.allSettled(pumps)
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []))
    // An input's own error would come again; the log's is mended by opening again.
    const error = errors.find((error) => !(error instanceof LogError)) ?? errors[0]
    if (error !== undefined) throw error
    return stop.aborted ? 'stopped' : 'ended'
  }

  async #write(contents: readonly TransactionContent[]): Promise<void> {
    // Never guess an outcome: behind a failed transaction nothing is written until all is opened again.
    if (this.#failed !== null) throw this.#failed
    const producer = this.#producer
    if (producer === null)
      throw new LogError('INVALID_STATE', `source partition ${this.partition} is not open.`)
    try {
      const batches = contents.flatMap((content) => content.batches())
      await this.#transact(producer, batches)
    } catch (error) {
      this.#failed = error as Error
      throw error
    }
    if (this.#failures === 0) return
    this.#failures = 0
    this.#say('RECOVERED', 'writing again.')
  }

  async #transact(producer: TransactionalProducer, batches: readonly ProduceBatch[]): Promise<void> {
    const topic = sourcesTopic(this.#options.application)
    producer.begin()
    const offsets = await producer.send(batches)
    await producer.commit()
    for (const [i, batch] of batches.entries()) {
      if (batch.topic !== topic || batch.partition !== this.partition) continue
      this.#barrier = Math.max(this.#barrier, offsets[i]! + batch.count - 1)
    }
  }

  #say(code: SourceNotice['code'], message: string): void {
    this.#options.notice({ code, source: this.sources.join(', '), message })
  }
}

/** Whether the partition is to be opened again, or left to whoever has it now (FENCED). */
export function isPassing(error: unknown): error is LogError {
  return error instanceof LogError && !FATAL.has(error.code)
}

/** Whether it is what a wait throws that the signal ended. */
export function isEndOf(stop: AbortSignal, error: unknown): boolean {
  return stop.aborted && error === stop.reason
}
