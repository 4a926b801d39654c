import {
  ByteWriter,
  HEADERS_END,
  KEY_END,
  KEY_START,
  STRIDE,
  VALUE_END,
  type ProduceBatch,
} from '../batch.ts'
import { LogError } from '../errors.ts'
import type { Client, Leader } from './client.ts'
import { ConnectionLost, isPassing, KAFKA, kafkaError, nameOf } from './errors.ts'
import { settleAll } from './hardening/partial-failure.ts'
import { PartitionSequences } from './hardening/sequence-after-timeout.ts'
import type { Compression } from './record-batch/compression.ts'
import { encodeRecordBatch } from './record-batch/encode.ts'
import { produceRequest, type ProducedPartition } from './requests/produce.ts'

export interface SenderOptions {
  readonly compression: Compression
  /** About so many bytes of records make one of Kafka's batches; a larger record is one of its own. */
  readonly maxBatchBytes: number
  /** About so many bytes go to one broker in one request. */
  readonly maxRequestBytes: number
}

export interface SenderIdentity {
  readonly transactionalId: string | null
  readonly producerId: number
  readonly producerEpoch: number
}

/** A part of a batch that makes one of Kafka's. */
interface Chunk {
  readonly batch: ProduceBatch
  /** Of the batch that it is a part of. */
  readonly index: number
  readonly isFirst: boolean
  readonly topic: string
  readonly partition: number
  /** Written once, and sent as often as it takes. */
  encoded: { readonly sequence: number; readonly writer: ByteWriter; readonly records: Buffer } | null
}

/** Chunks of one partition, in order: one is in flight at a time. */
interface Queue {
  readonly name: string
  readonly topic: string
  readonly chunks: Chunk[]
}

const LANE = 'produce'
const KEPT_WRITERS = 32
const KEPT_WRITER_BYTES = 2 * 1024 * 1024

/**
 * Appends batches to their partitions, exactly once each: one batch a partition in flight, the brokers in parallel,
 * what passes tried again with the same bytes. It belongs to one producer id and epoch.
 */
export class PartitionSender {
  readonly #client: Client
  readonly #identity: SenderIdentity
  readonly #options: SenderOptions
  readonly #sequences = new PartitionSequences()
  readonly #writers: ByteWriter[] = []

  constructor(client: Client, identity: SenderIdentity, options: SenderOptions) {
    this.#client = client
    this.#identity = identity
    this.#options = options
  }

  /**
   * @returns the offset of each batch's first record; -1 where the broker only said that it holds it already
   * @throws LogError; OUTCOME_UNKNOWN where it is not known whether a batch was appended. The sender is of no use then.
   */
  async send(batches: readonly ProduceBatch[]): Promise<number[]> {
    const offsets = new Array<number>(batches.length).fill(-1)
    const open = this.#queues(batches)
    const retry = this.#client.retry('Sending records to Kafka')
    try {
      // Before anything is sent: nothing of a send to an unknown topic is kept.
      await this.#client.retrying('Finding the leaders of partitions', () => this.#client.leaders(batches))
      while (open.size > 0) {
        const passing = await this.#round(open, offsets)
        if (passing === null) retry.succeeded()
        else await retry.pause(passing)
      }
    } catch (error) {
      throw isUncertain(open) ? outcomeUnknown(error) : error
    } finally {
      retry.succeeded()
    }
    return offsets
  }

  /** One batch of every partition. @returns what failed in passing, if anything did @throws LogError */
  async #round(open: Map<string, Queue>, offsets: number[]): Promise<Error | null> {
    const queues = [...open.values()]
    let leaders: Leader[]
    try {
      leaders = await this.#client.leaders(queues.map(({ chunks }) => chunks[0]!))
    } catch (error) {
      if (isPassing(error)) return error
      throw error
    }
    const requests = this.#requests(queues, leaders)
    const answers = await settleAll(requests.map(({ nodeId, sent }) => this.#produce(nodeId, sent)))
    let passing: Error | null = null
    let refused: Error | null = null
    for (const [i, { value, error }] of answers.entries()) {
      for (const [k, queue] of requests[i]!.sent.entries()) {
        const outcome = value === null ? error : this.#settle(queue, value[k], offsets)
        if (outcome === null) {
          if (queue.chunks.length === 0) open.delete(queue.name)
        } else {
          this.#client.forget(queue.topic)
          if (isPassing(outcome)) passing = outcome
          else refused ??= outcome as Error
        }
      }
    }
    if (refused !== null) throw refused
    return passing
  }

  /** What goes to each broker now: of every partition the first chunk, as far as it fits. */
  #requests(queues: readonly Queue[], leaders: readonly Leader[]): { nodeId: number; sent: Queue[] }[] {
    const requests = new Map<number, { nodeId: number; sent: Queue[]; bytes: number }>()
    queues.forEach((queue, i) => {
      const { nodeId } = leaders[i]!
      let request = requests.get(nodeId)
      if (request === undefined) requests.set(nodeId, (request = { nodeId, sent: [], bytes: 0 }))
      if (request.sent.length > 0 && request.bytes >= this.#options.maxRequestBytes) return
      const chunk = queue.chunks[0]!
      chunk.encoded ??= this.#encode(queue.name, chunk)
      request.sent.push(queue)
      request.bytes += chunk.encoded.records.length
    })
    return [...requests.values()]
  }

  async #produce(nodeId: number, sent: readonly Queue[]): Promise<(ProducedPartition | undefined)[]> {
    const { requestTimeoutMs } = this.#client.options
    const request = produceRequest({
      transactionalId: this.#identity.transactionalId,
      timeoutMs: requestTimeoutMs,
      partitions: sent.map(({ chunks: [chunk] }) => ({
        topic: chunk!.topic,
        partition: chunk!.partition,
        records: chunk!.encoded!.records,
      })),
    })
    // The broker itself waits that long for its replicas.
    const produced = await this.#client.send(nodeId, LANE, request, requestTimeoutMs)
    const byName = new Map(produced.map((partition) => [nameOf(partition), partition]))
    return sent.map(({ name }) => byName.get(name))
  }

  /** @returns the error, or null where the batch is in the log */
  #settle(queue: Queue, answer: ProducedPartition | undefined, offsets: number[]): unknown {
    const chunk = queue.chunks[0]!
    if (answer === undefined) return new ConnectionLost('its leader', `Produce to ${queue.name}`)
    const { errorCode, baseOffset, errorMessage } = answer
    // A duplicate is what an earlier try has appended.
    const isAppended = errorCode === 0 || errorCode === KAFKA.duplicateSequence
    if (!isAppended) {
      // What the topic takes is known to the broker alone: many small records may make too large a batch.
      if (errorCode === KAFKA.messageTooLarge && chunk.batch.count > 1) {
        this.#split(queue)
        return null
      }
      const said = errorMessage === null ? '' : ` (${errorMessage})`
      const { count } = chunk.batch
      const what = `${count} record${count === 1 ? '' : 's'} of ${queue.name} (${chunk.encoded!.records.length} bytes)`
      const error = kafkaError(errorCode, `${what} refused${said}`)
      if (!isPassing(error)) this.#release(queue, 0)
      return error
    }
    if (chunk.isFirst) offsets[chunk.index] = baseOffset
    this.#release(queue, chunk.batch.count)
    return null
  }

  /** The first chunk goes in two halves; nothing of it was appended. */
  #split(queue: Queue): void {
    const chunk = queue.chunks[0]!
    this.#release(queue, 0)
    const { topic, partition, buffer, byteLength, positions, count } = chunk.batch
    const half = count >> 1
    const part = (from: number, until: number): Chunk => ({
      ...chunk,
      batch: {
        topic,
        partition,
        buffer,
        byteLength,
        positions: positions.subarray(from * STRIDE, until * STRIDE),
        count: until - from,
      },
      isFirst: chunk.isFirst && from === 0,
      encoded: null,
    })
    queue.chunks.unshift(part(0, half), part(half, count))
  }

  #release(queue: Queue, appended: number): void {
    const { encoded } = queue.chunks.shift()!
    if (encoded === null) return
    this.#sequences.settle(queue.name, encoded.sequence, appended)
    const { writer } = encoded
    if (this.#writers.length < KEPT_WRITERS && writer.buffer.length <= KEPT_WRITER_BYTES) {
      writer.position = 0
      this.#writers.push(writer)
    }
  }

  #encode(name: string, { batch }: Chunk): NonNullable<Chunk['encoded']> {
    const { transactionalId, producerId, producerEpoch } = this.#identity
    const writer = this.#writers.pop() ?? new ByteWriter()
    const sequence = this.#sequences.take(name)
    const options = {
      producerId,
      producerEpoch,
      baseSequence: sequence,
      isTransactional: transactionalId !== null,
      compression: this.#options.compression,
      timestampMs: this.#client.options.clock.nowMs(),
    }
    encodeRecordBatch(batch, options, writer)
    return { sequence, writer, records: writer.buffer.subarray(0, writer.position) }
  }

  #queues(batches: readonly ProduceBatch[]): Map<string, Queue> {
    const queues = new Map<string, Queue>()
    batches.forEach((batch, index) => {
      if (batch.count === 0) return
      const name = nameOf(batch)
      const { topic, partition } = batch
      let queue = queues.get(name)
      if (queue === undefined) queues.set(name, (queue = { name, topic, chunks: [] }))
      for (const chunk of chunksOf(batch, this.#options.maxBatchBytes)) {
        queue.chunks.push({
          batch: chunk.batch,
          index,
          isFirst: chunk.isFirst,
          topic,
          partition,
          encoded: null,
        })
      }
    })
    return queues
  }
}

/** Cuts a batch into such as brokers take, without copying a record. */
function chunksOf(batch: ProduceBatch, maxBytes: number): { batch: ProduceBatch; isFirst: boolean }[] {
  if (batch.byteLength <= maxBytes) return [{ batch, isFirst: true }]
  const chunks: { batch: ProduceBatch; isFirst: boolean }[] = []
  const { topic, partition, buffer, byteLength, positions, count } = batch
  let from = 0
  for (let row = 0; row < count; row++) {
    const end = endOf(positions, row)
    const isLast = row + 1 === count
    // The next record would be one too many.
    const isFull = !isLast && endOf(positions, row + 1) - positions[from * STRIDE + KEY_START]! > maxBytes
    if (end < 0 || (!isLast && !isFull)) continue
    const part = positions.subarray(from * STRIDE, (row + 1) * STRIDE)
    chunks.push({
      batch: { topic, partition, buffer, byteLength, positions: part, count: row + 1 - from },
      isFirst: from === 0,
    })
    from = row + 1
  }
  return chunks
}

function endOf(positions: Int32Array, index: number): number {
  const row = index * STRIDE
  return Math.max(positions[row + KEY_END]!, positions[row + VALUE_END]!, positions[row + HEADERS_END]!)
}

/** Whether a batch was sent of which nobody knows whether it was appended. */
function isUncertain(open: ReadonlyMap<string, Queue>): boolean {
  for (const { chunks } of open.values()) if ((chunks[0]?.encoded ?? null) !== null) return true
  return false
}

function outcomeUnknown(cause: unknown): LogError {
  if (cause instanceof LogError && cause.code !== 'UNAVAILABLE' && cause.code !== 'CLOSED') return cause
  return new LogError(
    'OUTCOME_UNKNOWN',
    `It is not known whether all records were appended: ${(cause as Error).message}`,
    { cause },
  )
}
