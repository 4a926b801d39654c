import type { AbortedTransaction } from '../hardening/aborted-transactions.ts'
import { groupByTopic } from '../hardening/quadratic-grouping.ts'
import { kafkaRequest, type KafkaRequest, type PartitionError } from './request.ts'

const READ_COMMITTED = 1
const CONSUMER = -1
const NO_SESSION = 0
const FULL_FETCH = -1
const ANY_LOG_START = -1

export interface FetchPartition {
  readonly topic: string
  readonly partition: number
  readonly fetchOffset: number
  readonly maxBytes: number
  /** As Metadata gave it; the broker refuses another than its own (74, 76). Default -1: unchecked. */
  readonly leaderEpoch?: number
}

export interface FetchedPartition extends PartitionError {
  /** -1 where an error says so, as the next two. */
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  /** In the broker's order, which is not that of their offsets. */
  readonly abortedTransactions: readonly AbortedTransaction[]
  /** Another broker that the leader would rather have asked; -1: none. */
  readonly preferredReadReplica: number
  /** Undecoded, a view over the response: for `decodeRecords`. */
  readonly records: Buffer
}

export interface FetchResult {
  /** Of the request as a whole; the partitions have their own. */
  readonly errorCode: number
  readonly partitions: FetchedPartition[]
}

/** Fetch v11 (Kafka 2.3) at read_committed, without a fetch session. */
export function fetchRequest(options: {
  /** How long the broker waits for `minBytes`. */
  readonly maxWaitMs: number
  readonly minBytes: number
  /** Of the whole response; a first batch that is larger comes whole nevertheless. */
  readonly maxBytes: number
  readonly partitions: readonly FetchPartition[]
}): KafkaRequest<FetchResult> {
  return kafkaRequest(
    { key: 1, version: 11, name: 'Fetch', flexible: false },
    (writer) => {
      writer.int32(CONSUMER)
      writer.int32(options.maxWaitMs)
      writer.int32(options.minBytes)
      writer.int32(options.maxBytes)
      writer.int8(READ_COMMITTED)
      writer.int32(NO_SESSION)
      writer.int32(FULL_FETCH)
      writer.array(groupByTopic(options.partitions), ([topic, ofTopic]) => {
        writer.string(topic)
        writer.array(ofTopic, ({ partition, fetchOffset, maxBytes, leaderEpoch = -1 }) => {
          writer.int32(partition)
          writer.int32(leaderEpoch)
          writer.int64(fetchOffset)
          writer.int64(ANY_LOG_START)
          writer.int32(maxBytes)
        })
      })
      writer.array([], () => undefined)
      writer.string('')
    },
    (reader) => {
      const throttleMs = reader.int32()
      const errorCode = reader.int16()
      reader.int32()
      const partitions = reader.array(() => {
        const topic = reader.string()
        return reader.array(() => ({
          topic,
          partition: reader.int32(),
          errorCode: reader.int16(),
          highWatermark: reader.int64(),
          lastStableOffset: reader.int64(),
          logStartOffset: reader.int64(),
          abortedTransactions: reader.array(() => ({
            producerId: reader.int64(),
            firstOffset: reader.int64(),
          })),
          preferredReadReplica: reader.int32(),
          records: reader.records(),
        }))
      })
      return { throttleMs, result: { errorCode, partitions: partitions.flat() } }
    },
  )
}
