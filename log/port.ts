/**
 * The port that everything above the log speaks. Two implementations are meant to pass one
 * contract suite (test/contract/log.ts) unchanged: `embedded/` and Kafka.
 */
import type { ProduceBatch, RecordBatch } from './batch.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface OffsetAndMetadata extends TopicPartition {
  readonly offset: number
  readonly metadata: string
}

/** Who commits: captured when the assignment was handed out, never read from the client later. */
export interface GroupMetadata {
  readonly groupId: string
  readonly memberId: string
  readonly generation: number
}

export interface TopicConfig {
  readonly partitions: number
  /** `delete`: records go by `retentionMs` and DeleteRecords; `compact`: the last record of each key stays. */
  readonly cleanup: 'delete' | 'compact' | 'compact,delete'
  /** -1: for ever. */
  readonly retentionMs: number
  /** Copies of each partition, where the log replicates. Default: as the cluster has it. */
  readonly replicationFactor?: number
  /** Copies that must have a record before it counts as written. Default: as the cluster has it. */
  readonly minInsyncReplicas?: number
}

export interface TopicDescription extends TopicConfig {
  readonly name: string
  /** Another id under a known name: the topic was deleted and made again. */
  readonly topicId: string
  /** A larger batch, even one of a single record, is refused as RECORD_TOO_LARGE; absent: there is no such limit. */
  readonly maxBatchBytes?: number
}

export interface PartitionOffsets {
  /** The first offset that can still be read. */
  readonly start: number
  /** The last stable offset: a read_committed reader sees what lies below it. */
  readonly stable: number
  /** The end of the log, open transactions included. */
  readonly end: number
}

/** Who is in a group, for display: it may be another at the next look. */
export interface GroupDescription {
  readonly groupId: string
  /** `empty`: nobody is in it, or it never was. */
  readonly state: 'empty' | 'rebalancing' | 'stable'
  readonly members: readonly GroupMember[]
}

export interface GroupMember {
  readonly memberId: string
  /** How the process is named at the log, and where it connects from; '' where all is one process. */
  readonly clientId: string
  readonly host: string
  /** As in {@link GroupConsumerOptions}; '' while the group rebalances. */
  readonly cohort: string
  readonly partitions: readonly TopicPartition[]
  /** The cohort that has the partitions where this member's does not; else null. */
  readonly waitsFor: string | null
}

export interface Log {
  readonly admin: LogAdmin
  transactionalProducer(options: TransactionalProducerOptions): TransactionalProducer
  idempotentProducer(): IdempotentProducer
  groupConsumer(options: GroupConsumerOptions): GroupConsumer
  /** Reads one partition at read_committed, outside of any group. `from` is the first offset wanted. */
  partitionReader(partition: TopicPartition, from: number): PartitionReader
  close(): Promise<void>
}

export interface LogAdmin {
  clusterId(): Promise<string>
  /** Creates what is missing; a topic that exists is left as it is. */
  createTopics(topics: readonly ({ name: string } & TopicConfig)[]): Promise<void>
  /** In the order asked; null where there is no such topic. */
  describeTopics(names: readonly string[]): Promise<(TopicDescription | null)[]>
  listTopics(): Promise<string[]>
  deleteTopic(name: string): Promise<void>
  offsets(partitions: readonly TopicPartition[]): Promise<PartitionOffsets[]>
  /** Makes everything below `offset` unreadable; its space is freed sooner or later. */
  deleteRecords(before: readonly (TopicPartition & { offset: number })[]): Promise<void>
  /** In the order asked. */
  describeGroups(groupIds: readonly string[]): Promise<GroupDescription[]>
  /** Committed offsets of a group, for display; no stability is asked. null: none committed. */
  groupOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<(OffsetAndMetadata | null)[]>
}

export interface TransactionalProducerOptions {
  readonly transactionalId: string
  /** An open transaction older than this is aborted by the log. Default 10,000. */
  readonly transactionTimeoutMs?: number
}

/** One in-flight transaction at a time. After any error but an abort's, discard it and make a new one. */
export interface TransactionalProducer {
  /** Fences every earlier producer of this id and ends what it left open. */
  init(): Promise<void>
  begin(): void
  /**
   * Appends to the open transaction. The builders may be reused once it resolves.
   * @returns the offset of each batch's first record
   * @throws LogError FENCED when another producer was initialised with this id
   */
  send(batches: readonly ProduceBatch[]): Promise<number[]>
  /** @throws LogError STALE_GENERATION when the group has moved on */
  sendOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void>
  /** Resolves when everything sent is durable and visible to read_committed readers. */
  commit(): Promise<void>
  abort(): Promise<void>
  close(): Promise<void>
}

/** Retries never duplicate; there is no transaction. */
export interface IdempotentProducer {
  /** Resolves with each batch's first offset when all is durable. */
  send(batches: readonly ProduceBatch[]): Promise<number[]>
  close(): Promise<void>
}

export interface PartitionReader {
  /** The next offset that `read` looks at. */
  readonly position: number
  /**
   * The next batch below the last stable offset, or null when there is none yet.
   * @throws LogError OFFSET_OUT_OF_RANGE when the position is below the log's start or beyond its end
   */
  read(maxBytes: number): Promise<RecordBatch | null>
  close(): Promise<void>
}

export interface GroupConsumerOptions {
  readonly groupId: string
  /** Each inner list: topics whose equal partition numbers must be with one member. */
  readonly topics: readonly (readonly string[])[]
  readonly sessionTimeoutMs?: number
  /**
   * Only members of one cohort share the partitions: the one that has them already; else the larger, else the first
   * by name. The others have none until its last member has left. Default '', one like any other.
   */
  readonly cohort?: string
  /** Told, once for each such cohort, behind `onAssign`: another cohort has the partitions. */
  onWaiting?(cohort: string): void
  /** Awaited before this member joins again: finish or abort what is in flight. */
  onRevoke(partitions: readonly TopicPartition[]): Promise<void>
  /** Awaited before the first record of the new generation: open, then `seek` every partition. */
  onAssign(partitions: readonly TopicPartition[], group: GroupMetadata): Promise<void>
}

export interface GroupConsumer {
  /**
   * Joins when needed (awaiting the callbacks) and gives what is there, at most about `maxBytes`,
   * waiting up to `maxWaitMs` for the first record. Partitions without a `seek` stay silent.
   */
  poll(maxBytes: number, maxWaitMs: number): Promise<RecordBatch[]>
  seek(partition: TopicPartition, offset: number): void
  pause(partitions: readonly TopicPartition[]): void
  resume(partitions: readonly TopicPartition[]): void
  /** Committed offsets once no transaction holds them open (waits for it); null: none committed. */
  committed(partitions: readonly TopicPartition[]): Promise<(OffsetAndMetadata | null)[]>
  /** Commits outside of a transaction. @throws LogError STALE_GENERATION */
  commitOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void>
  /** Ends a waiting `poll` early. */
  wakeup(): void
  /** Revokes and leaves at once, so that others need not wait for the session time-out. */
  close(): Promise<void>
}
