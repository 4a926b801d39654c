import type { Clock } from '../config/clock.ts'
import { BatchBuilder } from '../log/batch.ts'
import { LogError } from '../log/errors.ts'
import type { GroupMetadata, Log, OffsetAndMetadata, TransactionalProducer } from '../log/port.ts'
import { deadLetterSchema } from '../schemas/dead-letter.ts'
import type { SchemaRegistry } from '../schemas/registry.ts'
import { HEADER_BYTES, writeHeader } from '../schemas/wire.ts'
import type { RefusedRecord } from './partition-queue.ts'
import { SinkError } from './port.ts'

export interface DeadLetterWriterOptions {
  readonly log: Log
  readonly registry: SchemaRegistry
  /** `<application>.dead-letters`; it has to be there. */
  readonly topic: string
  readonly pipeline: string
  /** Nobody else may use it at the same time. */
  readonly transactionalId: string
  readonly clock: Clock
}

/** Where dead letters go, and how they are written there. */
export interface DeadLetterTarget {
  readonly topic: string
  readonly pipeline: string
  readonly partitions: number
  /** Of the envelope, in the registry. */
  readonly schemaId: number
  readonly clock: Clock
}

interface Target extends DeadLetterTarget {
  readonly producer: TransactionalProducer
}

/** Writes what a destination refuses, with the position behind it, in one transaction of the log. */
export class DeadLetterWriter {
  readonly #options: DeadLetterWriterOptions
  #target: Target | null = null

  constructor(options: DeadLetterWriterOptions) {
    this.#options = options
  }

  /**
   * @param source the topic of the refused records
   * @throws LogError; the transaction may then have been committed or not, the group's offset tells
   * @throws SinkError DEAD_LETTER_REFUSED for a dead letter of a dead letter
   */
  async write(
    source: string,
    records: readonly RefusedRecord[],
    position: OffsetAndMetadata,
    group: GroupMetadata,
  ): Promise<void> {
    const target = (this.#target ??= await this.#open())
    const { producer } = target
    const batch = encodeDeadLetters(target, source, position.partition, records)
    try {
      producer.begin()
      await producer.send([batch])
      await producer.sendOffsets([position], group)
      await producer.commit()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** The next write takes a new producer, which fences this one. */
  async close(): Promise<void> {
    const target = this.#target
    this.#target = null
    // What it left open is ended by the log, or by the next producer of this id.
    await target?.producer.close().catch(() => undefined)
  }

  async #open(): Promise<Target> {
    const target = await openDeadLetters(this.#options)
    const producer = this.#options.log.transactionalProducer({
      transactionalId: this.#options.transactionalId,
    })
    await producer.init()
    return { ...target, producer }
  }
}

/** @throws LogError UNKNOWN_TOPIC where they have no topic */
export async function openDeadLetters({
  log,
  registry,
  topic,
  pipeline,
  clock,
}: Omit<DeadLetterWriterOptions, 'transactionalId'>): Promise<DeadLetterTarget> {
  const [description] = await log.admin.describeTopics([topic])
  if (description === null || description === undefined) {
    throw new LogError('UNKNOWN_TOPIC', `There is no topic ${topic} for dead letters: create it first.`)
  }
  const schemaId = await registry.register(`${topic}-value`, deadLetterSchema.avroText)
  return { topic, pipeline, clock, schemaId, partitions: description.partitions }
}

/**
 * The dead letters of records of one partition, to be sent in the transaction of the position behind them.
 * @param source the topic of the refused records
 * @throws SinkError DEAD_LETTER_REFUSED for a dead letter of a dead letter
 */
export function encodeDeadLetters(
  { topic, pipeline, partitions, schemaId, clock }: DeadLetterTarget,
  source: string,
  partition: number,
  records: readonly RefusedRecord[],
): BatchBuilder {
  const builder = new BatchBuilder(topic, partition % partitions)
  for (const { offset, reason, field, payload } of records) {
    if (source === topic) refuseLoop(topic, partition, offset, reason, payload)
    builder.beginKey()
    builder.beginValue(true)
    writeHeader(builder.writer, schemaId)
    deadLetterSchema.encode(builder.writer, {
      pipeline,
      source,
      partition,
      position: offset,
      reason,
      field,
      payload,
      failed_at: clock.nowMs(),
    })
    builder.end()
  }
  return builder
}

/** A refused dead letter becomes one itself, once: if that is refused too, it would go on for ever. */
function refuseLoop(topic: string, partition: number, offset: number, reason: string, payload: Buffer): void {
  let source: string
  try {
    source = deadLetterSchema.decode(payload, HEADER_BYTES, payload.length).source
  } catch {
    return
  }
  if (source !== topic) return
  throw new SinkError(
    'DEAD_LETTER_REFUSED',
    `${topic}, partition ${partition}, offset ${offset}: a dead letter about a dead letter is refused in its ` +
      `turn (${reason}). Mend the table of dead letters, or the schema registry, and start again.`,
  )
}
