import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { TopicPartition } from '../port.ts'
import { BatchSlices } from './batch-slices.ts'
import { isPassing, KAFKA, kafkaError, nameOf } from './errors.ts'
import { MemoryLease } from './memory-lease.ts'
import { outOfRange } from './hardening/silent-offset-reset.ts'
import { FetchTurn } from './hardening/stale-fetches.ts'
import { decodeRecords } from './record-batch/decode.ts'
import type { FetchedPartition as FetchAnswer } from './requests/fetch.ts'

/** A partition that is read on ahead: where to fetch next, and what has been fetched and not handed out. */
export class FetchedPartition implements TopicPartition {
  readonly topic: string
  readonly partition: number
  readonly name: string
  readonly turn = new FetchTurn()
  isPaused = false
  isInFlight = false
  /** Not before this time of `performance.now()`. */
  notBeforeMs = 0
  #fetchOffset: number | null = null
  #slices: BatchSlices[] = []
  #bufferedBytes = 0
  #error: Error | null = null
  #topicId: string | null = null

  constructor({ topic, partition }: TopicPartition) {
    this.topic = topic
    this.partition = partition
    this.name = nameOf(this)
  }

  /** Remembers the topic's id; another under its name ends the reading, whatever its offsets. */
  isOfTopic(topicId: string): boolean {
    this.#topicId ??= topicId
    if (this.#topicId === topicId) return true
    this.fail(
      new LogError(
        'UNKNOWN_TOPIC',
        `Topic ${this.topic} was deleted and made again (id ${this.#topicId}, now ${topicId}): its offsets are others; open it anew`,
      ),
    )
    return false
  }

  /** Null: nowhere, until it is sought. */
  get fetchOffset(): number | null {
    return this.#error === null ? this.#fetchOffset : null
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  seek(offset: number): void {
    this.turn.next()
    this.#fetchOffset = offset
    this.#slices = []
    this.#bufferedBytes = 0
    this.#error = null
    this.notBeforeMs = 0
  }

  /**
   * Takes in what a broker answered to a fetch from `fetchOffset`.
   * @returns an error that passes; one that does not is kept for whoever reads
   */
  accept(answer: FetchAnswer, lease: MemoryLease | null = null): Error | null {
    const fetchOffset = this.#fetchOffset!
    const { errorCode } = answer
    try {
      if (errorCode === KAFKA.offsetOutOfRange) throw outOfRange(answer, fetchOffset)
      if (errorCode !== 0) throw kafkaError(errorCode, `Fetching ${this.name}`)
      const { batches, nextOffset } = decodeRecords({
        topic: this.topic,
        partition: this.partition,
        records: answer.records,
        fetchOffset,
        abortedTransactions: answer.abortedTransactions,
      })
      this.#fetchOffset = nextOffset
      for (const batch of batches) {
        const isWithinAnswer = batch.buffer.buffer === answer.records.buffer
        const slices = new BatchSlices(batch, isWithinAnswer ? lease : MemoryLease.of(batch.buffer))
        this.#slices.push(slices)
        this.#bufferedBytes += slices.bytes
      }
      return null
    } catch (error) {
      if (isPassing(error)) return error
      this.fail(error as Error)
      return null
    }
  }

  /** Whoever reads next is told, behind what is buffered; then the partition is silent until it is sought. */
  fail(error: Error): void {
    this.#error = error
  }

  /** About `maxBytes` of what is buffered; null where nothing is. @throws LogError what has gone wrong */
  take(maxBytes: number): RecordBatch | null {
    const [slices] = this.#slices
    if (slices === undefined) {
      if (this.#error === null) return null
      const error = this.#error
      this.#error = null
      this.#fetchOffset = null
      throw error
    }
    const before = slices.bytes
    const batch = slices.take(maxBytes)
    this.#bufferedBytes -= before - slices.bytes
    if (slices.isEmpty) this.#slices.shift()
    return batch
  }

  get isReady(): boolean {
    return !this.isPaused && (this.#slices.length > 0 || this.#error !== null)
  }
}

export function notAssigned({ topic, partition }: TopicPartition, groupId: string): LogError {
  return new LogError(
    'INVALID_STATE',
    `${topic}-${partition} is not assigned to this member of group ${groupId}`,
  )
}
