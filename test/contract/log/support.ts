import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { BatchBuilder, type RecordBatch } from '../../../log/batch.ts'
import { LogError, type LogErrorCode } from '../../../log/errors.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  TopicConfig,
  TopicPartition,
  TransactionalProducer,
} from '../../../log/port.ts'

/** An implementation of the log, as the suite needs it. */
export interface LogUnderTest {
  readonly log: Log
  /** Lets time pass for the log: really, or by moving its clock. */
  advance(ms: number): Promise<void>
  /** Makes the cleaner look at what can be compacted, and waits for it. */
  compact(partition: TopicPartition): Promise<void>
  /** Ends the log and opens it again; absent where nothing outlives it. */
  reopen?(): Promise<Log>
  close(): Promise<void>
}

export interface Read {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
}

export const PLENTY = 64 * 2 ** 20

/** A name that no other test, and no earlier run on the same servers, has used. */
export function fresh(kind: string): string {
  return `${kind}-${randomBytes(6).toString('hex')}`
}

export async function makeTopic(
  log: Log,
  partitions = 1,
  config: Partial<TopicConfig> = {},
): Promise<string> {
  const name = fresh('topic')
  await log.admin.createTopics([{ name, cleanup: 'delete', retentionMs: -1, ...config, partitions }])
  return name
}

export function batchOf(
  topic: string,
  partition: number,
  values: readonly (string | null)[],
  key?: string,
): BatchBuilder {
  const builder = new BatchBuilder(topic, partition)
  for (const value of values) {
    builder.append(key === undefined ? null : Buffer.from(key), value === null ? null : Buffer.from(value))
  }
  return builder
}

export function recordsOf(batch: RecordBatch): Read[] {
  return Array.from({ length: batch.count }, (_, i) => ({
    offset: batch.offsetAt(i),
    key: batch.keyAt(i)?.toString() ?? null,
    value: batch.valueAt(i)?.toString() ?? null,
  }))
}

/** All that a read_committed reader sees now. */
export async function readAll(log: Log, topic: string, partition = 0, maxBytes = PLENTY): Promise<Read[]> {
  const [offsets] = await log.admin.offsets([{ topic, partition }])
  const reader = log.partitionReader({ topic, partition }, offsets!.start)
  const read: Read[] = []
  for (let empty = 0; reader.position < offsets!.stable;) {
    const batch = await reader.read(maxBytes)
    if (batch !== null) read.push(...recordsOf(batch))
    else assert(++empty < 1_000, `the reader is stuck at ${reader.position}, below the last stable offset`)
  }
  await reader.close()
  return read
}

export async function valuesIn(log: Log, topic: string, partition = 0): Promise<(string | null)[]> {
  return (await readAll(log, topic, partition)).map(({ value }) => value)
}

export async function producerOf(log: Log, transactionalId = fresh('id')): Promise<TransactionalProducer> {
  const producer = log.transactionalProducer({ transactionalId })
  await producer.init()
  return producer
}

export async function append(
  log: Log,
  topic: string,
  partition: number,
  values: readonly string[],
): Promise<number> {
  const producer = log.idempotentProducer()
  const [offset] = await producer.send([batchOf(topic, partition, values)])
  await producer.close()
  return offset!
}

export async function rejectsWith(
  code: LogErrorCode | readonly LogErrorCode[],
  call: () => Promise<unknown>,
): Promise<void> {
  await assert.rejects(call, (error) => {
    assert(error instanceof LogError, String(error))
    assert([code].flat().includes(error.code), `${error.code}: ${error.message}`)
    assert(error.message.length > 20, 'the message says what happened')
    return true
  })
}

export interface MemberOptions {
  readonly cohort?: string
  readonly sessionTimeoutMs?: number
  readonly onRevoke?: (member: TestMember, partitions: readonly TopicPartition[]) => Promise<void>
  readonly onAssign?: (member: TestMember, partitions: readonly TopicPartition[]) => Promise<void>
}

/** A member that polls in a loop, begins where the group has committed, and notes what happens to it. */
export class TestMember {
  readonly consumer: GroupConsumer
  readonly seen: string[] = []
  readonly events: string[] = []
  readonly positions = new Map<string, number>()
  assigned: readonly TopicPartition[] = []
  group: GroupMetadata | null = null
  #loop: Promise<void> | null = null
  #stopped = false

  constructor(
    log: Log,
    groupId: string,
    topics: readonly (readonly string[])[],
    options: MemberOptions = {},
  ) {
    this.consumer = log.groupConsumer({
      groupId,
      topics,
      ...(options.cohort === undefined ? {} : { cohort: options.cohort }),
      ...(options.sessionTimeoutMs === undefined ? {} : { sessionTimeoutMs: options.sessionTimeoutMs }),
      onWaiting: (cohort) => this.events.push(`wait for ${cohort}`),
      onRevoke: async (partitions) => {
        this.events.push('revoke')
        await options.onRevoke?.(this, partitions)
        this.assigned = []
      },
      onAssign: async (partitions, group) => {
        this.events.push('assign')
        this.group = group
        const committed = await this.consumer.committed(partitions)
        partitions.forEach((partition, i) => {
          const offset = committed[i]?.offset ?? 0
          this.positions.set(nameOf(partition), offset)
          this.consumer.seek(partition, offset)
        })
        await options.onAssign?.(this, partitions)
        this.assigned = partitions
      },
    })
  }

  get names(): string[] {
    return this.assigned.map(nameOf).sort()
  }

  start(): this {
    this.#loop = this.#run()
    return this
  }

  /** Commits where it stands for what it was assigned. */
  async commit(partitions: readonly TopicPartition[]): Promise<void> {
    const offsets = partitions.map((p) => ({ ...p, offset: this.positions.get(nameOf(p))!, metadata: '' }))
    await this.consumer.commitOffsets(offsets, this.group!)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.consumer.wakeup()
    await this.#loop
  }

  async close(): Promise<void> {
    await this.stop()
    await this.consumer.close()
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      for (const batch of await this.consumer.poll(PLENTY, 50)) {
        for (const { value } of recordsOf(batch)) this.seen.push(value!)
        this.positions.set(nameOf(batch), batch.nextOffset)
      }
    }
  }
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}
