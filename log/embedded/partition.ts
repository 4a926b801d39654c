import type { TopicConfig } from '../port.ts'

export interface Topic {
  readonly name: string
  readonly topicId: string
  readonly config: TopicConfig
  readonly partitions: readonly Partition[]
}

/** What of a partition is stored. */
export interface PartitionEntry {
  readonly start: number
  readonly end: number
  readonly cleanedTo: number
  readonly cleanBytes: number
  readonly dirtyBytes: number
}

const EMPTY: PartitionEntry = { start: 0, end: 0, cleanedTo: 0, cleanBytes: 0, dirtyBytes: 0 }

/** One partition's offsets, and who has not decided yet about records in it. */
export class Partition {
  readonly id: number
  readonly topic: string
  readonly index: number
  readonly config: TopicConfig
  /** The topic is gone: what is still undecided has nowhere to go. */
  deleted = false
  start: number
  /** Offsets below it are given out, whatever became of their transactions. */
  end: number
  /** Compaction has looked at what lies below. */
  cleanedTo: number
  cleanBytes: number
  dirtyBytes: number
  /** The earliest time at which a segment may have outlived the retention. */
  retentionDueMs = 0
  /** Told when the last stable offset moves. */
  readonly listeners = new Set<() => void>()
  /** Open transactions and sends that are not on disk, by the first offset of each, ascending. */
  readonly #undecided = new Map<object, number>()

  constructor(
    identity: { id: number; topic: string; index: number; config: TopicConfig },
    entry: PartitionEntry = EMPTY,
  ) {
    this.id = identity.id
    this.topic = identity.topic
    this.index = identity.index
    this.config = identity.config
    this.start = entry.start
    this.end = entry.end
    this.cleanedTo = entry.cleanedTo
    this.cleanBytes = entry.cleanBytes
    this.dirtyBytes = entry.dirtyBytes
  }

  get isCompacted(): boolean {
    return this.config.cleanup !== 'delete'
  }

  get expires(): boolean {
    return this.config.cleanup !== 'compact' && this.config.retentionMs >= 0
  }

  get entryName(): string {
    return `partition\0${this.id}`
  }

  /** The last stable offset: the first offset of the oldest undecided write, else the end. */
  get stable(): number {
    for (const first of this.#undecided.values()) return first
    return this.end
  }

  /** Gives out `count` offsets; they stay given, also if `owner` aborts. */
  reserve(owner: object, count: number): number {
    const first = this.end
    if (!this.#undecided.has(owner)) this.#undecided.set(owner, first)
    this.end += count
    return first
  }

  decide(owner: object): void {
    this.#undecided.delete(owner)
  }

  notify(): void {
    for (const listener of this.listeners) listener()
  }

  toEntry(): string {
    const { start, end, cleanedTo, cleanBytes, dirtyBytes } = this
    return JSON.stringify({ start, end, cleanedTo, cleanBytes, dirtyBytes } satisfies PartitionEntry)
  }
}
