/**
 * What people have been told, in the compacted topic `<application>.notices`: how far each destination has each
 * partition, and the run that each group is in. Both move in one transaction. A partition's records are written by
 * a producer whose transactional id is the partition's: who takes it over fences whoever had it.
 */
import { BatchBuilder } from '../../log/batch.ts'
import { LogError } from '../../log/errors.ts'
import { lastValues } from '../../log/last-values.ts'
import type { Log, TransactionalProducer } from '../../log/port.ts'
import { readUntil } from '../../log/read-until.ts'
import { encodeDeadLetters, type DeadLetterTarget } from '../dead-letter-writer.ts'
import type { RefusedRecord } from '../partition-queue.ts'
import { SinkError, type Assignment, type Position } from '../port.ts'
import type { Run } from './rule.ts'

export interface RecordOptions {
  readonly log: Log
  readonly application: string
  readonly destination: string
  /** `<application>.notices`; it has to be there, with one partition. */
  readonly topic: string
  readonly deadLetters: () => Promise<DeadLetterTarget>
  /** Told what a person should know. */
  readonly notice: (message: string) => void
}

/** What is written together. */
export interface Entry {
  /** The first offset that is not dealt with. */
  readonly next: number
  /** Of groups whose run has changed; null: it is forgotten. */
  readonly runs: readonly (readonly [group: string, run: Run | null])[]
  readonly refused: readonly RefusedRecord[]
}

const PARTITION = 0

/** The records of one partition, as its owner has them. */
export class PartitionRecord {
  readonly #options: RecordOptions
  readonly #place: Assignment
  readonly #producer: TransactionalProducer
  /** Null: nothing is known of the partition. */
  position: Position | null = null
  readonly runs = new Map<string, Run>()

  private constructor(options: RecordOptions, place: Assignment, producer: TransactionalProducer) {
    this.#options = options
    this.#place = place
    this.#producer = producer
  }

  /** Takes partitions over. In the order given. @throws LogError */
  static async open(options: RecordOptions, assigned: readonly Assignment[]): Promise<PartitionRecord[]> {
    const { log, application, destination, topic } = options
    const records = assigned.map((place) => {
      const transactionalId = `${application}-notices-${destination}-${place.partition}`
      return new PartitionRecord(options, place, log.transactionalProducer({ transactionalId }))
    })
    try {
      for (const record of records) await record.#producer.init()
      const place = { topic, partition: PARTITION }
      // No barrier: what a deposed leader leaves out is told again, under the same keys.
      const stored = await lastValues(log, place, { onWait: options.notice, barrier: -1 })
      for (const record of records) record.#read(stored)
    } catch (error) {
      for (const record of records) await record.close()
      throw error
    }
    return records
  }

  /**
   * Resolves when it is durable. After any error the partition is to be opened again.
   * @throws SinkError STALE_POSITION when somebody else has taken the partition over; LogError
   */
  async write({ next, runs, refused }: Entry): Promise<void> {
    const { topic, partition, incarnation } = this.#place
    const position: Position = { next, incarnation }
    const records = new BatchBuilder(this.#options.topic, PARTITION)
    records.append(Buffer.from(this.#key('position')), Buffer.from(JSON.stringify(position)))
    for (const [group, run] of runs) {
      records.append(
        Buffer.from(this.#key('run', group)),
        run === null ? null : Buffer.from(JSON.stringify({ ...run, incarnation })),
      )
    }
    const batches = [records]
    if (refused.length > 0) {
      batches.push(encodeDeadLetters(await this.#options.deadLetters(), topic, partition, refused))
    }
    try {
      this.#producer.begin()
      await this.#producer.send(batches)
      await this.#producer.commit()
    } catch (error) {
      if (!(error instanceof LogError && error.code === 'FENCED')) throw error
      throw new SinkError(
        'STALE_POSITION',
        `${this.#options.destination}: another process has taken over ${topic}, partition ${partition}.`,
        { cause: error },
      )
    }
    this.position = position
    for (const [group, run] of runs) {
      if (run === null) this.runs.delete(group)
      else this.runs.set(group, run)
    }
  }

  /** What it left open is ended by the next owner. */
  async close(): Promise<void> {
    await this.#producer.close().catch(() => undefined)
  }

  #read(stored: ReadonlyMap<string, string>): void {
    const position = stored.get(this.#key('position'))
    if (position === undefined) return
    this.position = JSON.parse(position) as Position
    const prefix = this.#key('run', '')
    for (const [key, value] of stored) {
      if (!key.startsWith(prefix)) continue
      const { incarnation, ...run } = JSON.parse(value) as Run & { readonly incarnation: string }
      if (incarnation === this.#place.incarnation) this.runs.set(key.slice(prefix.length), run)
    }
  }

  #key(kind: 'position' | 'run', ...rest: string[]): string {
    return [kind, this.#options.destination, this.#place.topic, this.#place.partition, ...rest].join('/')
  }
}

/** What stands in the record of a destination and a partition. */
export interface Recorded {
  readonly destination: string
  readonly topic: string
  readonly partition: number
  /** The first offset that is not dealt with. */
  readonly next: number
  /** Runs whose last is still to be sent. */
  readonly openRuns: number
}

/**
 * All that is recorded, for those who only look: it waits for nobody, and sees what is committed.
 * @param topic the one that {@link RecordOptions} has; it has to be there
 */
export async function recordedIn(log: Log, topic: string): Promise<Recorded[]> {
  const place = { topic, partition: PARTITION }
  const [offsets] = await log.admin.offsets([place])
  const positions = new Map<string, Position>()
  /** By destination and partition: the runs, and of which topic's incarnation they are. */
  const open = new Map<string, Map<string, string>>()
  await readUntil(log, place, { from: offsets!.start, end: offsets!.stable }, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      const [kind, ...parts] = (batch.keyAt(i)?.toString('utf8') ?? '').split('/')
      const at = parts.slice(0, 3).join('/')
      const text = batch.valueAt(i)?.toString('utf8')
      const value = text === undefined ? null : (JSON.parse(text) as Position & Partial<Run>)
      if (kind === 'position' && value !== null) positions.set(at, value)
      if (kind !== 'run') continue
      const runs = open.get(at) ?? new Map<string, string>()
      const group = parts.slice(3).join('/')
      if (value?.waiting) runs.set(group, value.incarnation)
      else runs.delete(group)
      open.set(at, runs)
    }
  })
  return [...positions].map(([at, { next, incarnation }]) => {
    const [destination, of, partition] = at.split('/') as [string, string, string]
    const runs = [...(open.get(at)?.values() ?? [])].filter((own) => own === incarnation)
    return { destination, topic: of, partition: Number(partition), next, openRuns: runs.length }
  })
}
