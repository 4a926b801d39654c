import type { Clock } from '../../config/clock.ts'
import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { TopicPartition } from '../port.ts'
import { GroupWriter } from './group-writer.ts'
import { Partition, type PartitionEntry, type Topic } from './partition.ts'
import { SegmentCache } from './segment-cache.ts'
import { cutBatch, decodeSegment, type Segment } from './segment.ts'
import type { Change, SegmentRef, SegmentStorage } from './storage.ts'

export interface CoreOptions {
  readonly storage: SegmentStorage
  readonly clock: Clock
  /** A new id, never given before. */
  readonly randomId: () => string
  readonly cacheBytes: number
  readonly maxSegmentBytes: number
  readonly maxTransactionBytes: number
  /** What is touched has nowhere to go. */
  readonly readOnly: boolean
}

interface TopicEntry {
  readonly topicId: string
  readonly partitionIds: readonly number[]
  readonly config: Topic['config']
}

/** A partition id whose topic is gone, and whose segments are to be removed. */
const DROPPED = 'dropped'
const NEXT_PARTITION_ID = 'next-partition-id'
const CLUSTER_ID = 'cluster-id'
const FORMAT = 'format'
/** Raised when what is stored is laid out otherwise. */
const CURRENT_FORMAT = '1'

/**
 * Topics, partitions, and reading and writing their segments. This process owns the store, so what
 * is here in memory is the truth, rebuilt at opening from the entries alone, never from the records.
 */
export class LogCore {
  readonly options: CoreOptions
  readonly clock: Clock
  readonly writer: GroupWriter
  readonly topics = new Map<string, Topic>()
  /** Called with every partition that got records, after they are visible. */
  onAppended: (partition: Partition) => void = () => undefined
  /** Called when something was read up to its last stable offset: a dead transaction may hold it. */
  onBlocked: () => void = () => undefined
  readonly #cache: SegmentCache
  readonly #closing = new Set<() => void>()
  #clusterId = ''
  #nextPartitionId = 0
  #closed = false

  private constructor(options: CoreOptions) {
    this.options = options
    this.clock = options.clock
    this.writer = new GroupWriter(options.storage)
    this.#cache = new SegmentCache(options.cacheBytes)
  }

  /**
   * @returns the core, the other parts' entries by name, and the ids of partitions to be dropped
   * @throws LogError STORAGE
   */
  static async open(
    options: CoreOptions,
  ): Promise<{ core: LogCore; entries: Map<string, string>; dropped: number[] }> {
    const core = new LogCore(options)
    const entries = new Map(options.storage.entries())
    const dropped = core.#restore(entries)
    if (core.#clusterId === '') {
      core.#clusterId = options.randomId()
      await core.writer.write([
        { entry: FORMAT, value: CURRENT_FORMAT },
        { entry: CLUSTER_ID, value: core.#clusterId },
      ])
    }
    return { core, entries, dropped }
  }

  get clusterId(): string {
    return this.#clusterId
  }

  get cachedBytes(): number {
    return this.#cache.bytes
  }

  /** Now, as it is stored with records: whole milliseconds, not negative. */
  nowMs(): number {
    return Math.max(0, Math.floor(this.clock.nowMs()))
  }

  assertOpen(): void {
    if (this.#closed) throw new LogError('CLOSED', 'The log is closed: open it again')
  }

  /** Calls `listener` when the log closes, so that waits end. @returns to stop listening */
  whenClosing(listener: () => void): () => void {
    this.#closing.add(listener)
    return () => this.#closing.delete(listener)
  }

  /** @throws LogError UNKNOWN_TOPIC */
  partition({ topic, partition }: TopicPartition): Partition {
    this.assertOpen()
    const found = this.topics.get(topic)?.partitions[partition]
    if (found !== undefined) return found
    const known = this.topics.get(topic)?.partitions.length
    throw new LogError(
      'UNKNOWN_TOPIC',
      known === undefined
        ? `There is no topic ${topic}: create it first`
        : `Topic ${topic} has ${known} partitions, none with number ${partition}`,
    )
  }

  /**
   * The next records at `from` or later below the last stable offset, of about `maxBytes`, at least
   * one; null where there is none yet.
   *
   * @param whole gives null too where the next segment is larger than `maxBytes`, instead of a part
   * @throws LogError OFFSET_OUT_OF_RANGE
   */
  read(partition: Partition, from: number, maxBytes: number, whole = false): RecordBatch | null {
    this.assertReadable(partition, from)
    const { stable } = partition
    if (from >= stable) {
      if (stable < partition.end) this.onBlocked()
      return null
    }
    const ref = this.options.storage.segmentsFrom(partition.id, from, 1)[0]
    if (ref === undefined || ref.baseOffset >= stable) return null
    if (whole && ref.byteLength > maxBytes) return null
    const value = this.segmentValue(ref)
    const batch = decodeSegment({ ref, value }, partition.topic, partition.index)
    const cut = cutBatch(batch, from, maxBytes)
    // The rest of it will be asked for next.
    if (cut !== batch) this.#cache.put(ref, value)
    return cut
  }

  /** @throws LogError OFFSET_OUT_OF_RANGE, or UNKNOWN_TOPIC where the topic was deleted meanwhile */
  assertReadable(partition: Partition, offset: number): void {
    this.assertOpen()
    const name = `${partition.topic}-${partition.index}`
    if (partition.deleted) throw new LogError('UNKNOWN_TOPIC', `Topic ${partition.topic} was deleted`)
    if (offset >= partition.start && offset <= partition.end) return
    throw new LogError(
      'OFFSET_OUT_OF_RANGE',
      `Offset ${offset} of ${name} is not in the log, which goes from ${partition.start} to ${partition.end}: choose where to go on`,
    )
  }

  /** @throws LogError STORAGE */
  segmentValue(ref: SegmentRef): Buffer {
    const value = this.#cache.get(ref) ?? this.options.storage.read(ref)
    if (value !== null) return value
    throw new LogError(
      'STORAGE',
      `A segment ending at offset ${ref.lastOffset} is in the index, but not in the store`,
    )
  }

  cacheSegments(segments: readonly Segment[]): void {
    for (const { ref, value } of segments) this.#cache.put(ref, value)
  }

  uncache(refs: readonly SegmentRef[]): void {
    for (const ref of refs) this.#cache.delete(ref)
  }

  async createTopics(topics: readonly ({ name: string } & Topic['config'])[]): Promise<void> {
    this.assertOpen()
    const created: string[] = []
    const changes: Change[] = []
    for (const { name, partitions } of topics) assertTopic(name, partitions)
    for (const { name, partitions, cleanup, retentionMs } of topics) {
      if (this.topics.has(name)) continue
      const entry: TopicEntry = {
        topicId: this.options.randomId(),
        partitionIds: Array.from({ length: partitions }, () => this.#nextPartitionId++),
        config: { partitions, cleanup, retentionMs },
      }
      this.#addTopic(name, entry, () => undefined)
      created.push(name)
      changes.push({ entry: `topic\0${name}`, value: JSON.stringify(entry) })
    }
    if (changes.length === 0) return
    changes.push({ entry: NEXT_PARTITION_ID, value: String(this.#nextPartitionId) })
    try {
      await this.writer.write(changes)
    } catch (error) {
      for (const name of created) this.topics.delete(name)
      throw error
    }
  }

  /**
   * Forgets a topic; `also` goes in the same write.
   *
   * @returns its partitions, whose segments remain to be dropped
   * @throws LogError UNKNOWN_TOPIC, STORAGE
   */
  async deleteTopic(
    name: string,
    also: readonly Change[],
    onDurable: () => void,
  ): Promise<readonly Partition[]> {
    const topic = this.topics.get(name)
    if (topic === undefined) throw new LogError('UNKNOWN_TOPIC', `There is no topic ${name} to delete`)
    const changes: Change[] = [{ entry: `topic\0${name}`, value: null }, ...also]
    for (const partition of topic.partitions) {
      changes.push({ entry: partition.entryName, value: null })
      changes.push({ entry: `${DROPPED}\0${partition.id}`, value: '' })
    }
    await this.writer.write(changes, () => {
      this.topics.delete(name)
      for (const partition of topic.partitions) {
        partition.deleted = true
        this.writer.forget(partition.entryName)
        partition.notify()
      }
      onDurable()
    })
    return topic.partitions
  }

  /** The segments of a dropped partition are gone. */
  async finishDrop(partitionId: number): Promise<void> {
    await this.writer.write([{ entry: `${DROPPED}\0${partitionId}`, value: null }])
  }

  touch(partition: Partition): void {
    if (!partition.deleted) this.writer.touch(partition.entryName, () => partition.toEntry())
  }

  /** From here on calls are refused with CLOSED, and waits end. */
  refuse(): void {
    this.#closed = true
    for (const listener of this.#closing) listener()
  }

  /** Writes what is still to be written, and lets the store go. */
  async close(): Promise<void> {
    try {
      if (!this.options.readOnly) await this.writer.drain()
    } finally {
      await this.options.storage.close()
    }
  }

  #restore(entries: Map<string, string>): number[] {
    const format = entries.get(FORMAT) ?? CURRENT_FORMAT
    if (format !== CURRENT_FORMAT) {
      throw new LogError(
        'STORAGE',
        `The log is stored in format ${format}, this version reads ${CURRENT_FORMAT}: use the version that wrote it, or another directory`,
      )
    }
    this.#clusterId = entries.get(CLUSTER_ID) ?? ''
    this.#nextPartitionId = Number(entries.get(NEXT_PARTITION_ID) ?? 0)
    const dropped: number[] = []
    for (const [key, value] of entries) {
      const [kind, name] = key.split('\0')
      if (kind === DROPPED) dropped.push(Number(name))
      if (kind !== 'topic') continue
      this.#addTopic(name!, JSON.parse(value) as TopicEntry, (id) => {
        const stored = entries.get(`partition\0${id}`)
        return stored === undefined ? undefined : (JSON.parse(stored) as PartitionEntry)
      })
    }
    return dropped
  }

  #addTopic(name: string, entry: TopicEntry, stored: (id: number) => PartitionEntry | undefined): void {
    const { topicId, config } = entry
    const partitions = entry.partitionIds.map(
      (id, index) => new Partition({ id, topic: name, index, config }, stored(id)),
    )
    this.topics.set(name, { name, topicId, config, partitions })
  }
}

/** Kafka's rule for names, so that what runs here runs there. */
function assertTopic(name: string, partitions: number): void {
  if (!/^[a-zA-Z0-9._-]{1,249}$/.test(name)) {
    throw new LogError(
      'INVALID_STATE',
      `"${name}" cannot be a topic: use up to 249 letters, digits, dots, hyphens and underscores`,
    )
  }
  if (!Number.isInteger(partitions) || partitions < 1) {
    throw new LogError('INVALID_STATE', `Topic ${name} needs at least one partition, not ${partitions}`)
  }
}
