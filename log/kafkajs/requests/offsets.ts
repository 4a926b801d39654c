/** Where a partition's log begins and ends, and how its beginning is moved. */
import { groupByTopic } from '../hardening/quadratic-grouping.ts'
import type { TopicPartition } from '../../port.ts'
import { kafkaRequest, type KafkaRequest, type PartitionError } from './request.ts'

export const EARLIEST = -2
export const LATEST = -1

const CONSUMER = -1
const ANY_LEADER_EPOCH = -1

export interface ListedOffset extends PartitionError {
  readonly offset: number
}

/**
 * ListOffsets v5 (Kafka 2.2). `at` is {@link EARLIEST}, {@link LATEST} (the last stable offset at
 * read_committed, else the high watermark), or a time in epoch ms: the first offset of that time or later,
 * -1 where there is none.
 */
export function listOffsetsRequest(options: {
  readonly partitions: readonly (TopicPartition & { readonly at: number })[]
  readonly isolation: 'read_committed' | 'read_uncommitted'
}): KafkaRequest<ListedOffset[]> {
  return kafkaRequest(
    { key: 2, version: 5, name: 'ListOffsets', flexible: false },
    (writer) => {
      writer.int32(CONSUMER)
      writer.int8(options.isolation === 'read_committed' ? 1 : 0)
      writer.array(groupByTopic(options.partitions), ([topic, ofTopic]) => {
        writer.string(topic)
        writer.array(ofTopic, ({ partition, at }) => {
          writer.int32(partition)
          writer.int32(ANY_LEADER_EPOCH)
          writer.int64(at)
        })
      })
    },
    (reader) => {
      const throttleMs = reader.int32()
      const results = reader.array(() => {
        const topic = reader.string()
        return reader.array(() => {
          const partition = reader.int32()
          const errorCode = reader.int16()
          reader.int64()
          const offset = reader.int64()
          reader.int32()
          return { topic, partition, errorCode, offset }
        })
      })
      return { throttleMs, result: results.flat() }
    },
  )
}

export interface DeletedRecords extends PartitionError {
  /** The log's start after it; -1 where an error says so. */
  readonly logStartOffset: number
}

/** DeleteRecords v1 (Kafka 2.0), to the partitions' leader: what lies below each `offset` is gone. */
export function deleteRecordsRequest(
  before: readonly (TopicPartition & { readonly offset: number })[],
  timeoutMs: number,
): KafkaRequest<DeletedRecords[]> {
  return kafkaRequest(
    { key: 21, version: 1, name: 'DeleteRecords', flexible: false },
    (writer) => {
      writer.array(groupByTopic(before), ([topic, ofTopic]) => {
        writer.string(topic)
        writer.array(ofTopic, ({ partition, offset }) => {
          writer.int32(partition)
          writer.int64(offset)
        })
      })
      writer.int32(timeoutMs)
    },
    (reader) => {
      const throttleMs = reader.int32()
      const results = reader.array(() => {
        const topic = reader.string()
        return reader.array(() => ({
          topic,
          partition: reader.int32(),
          logStartOffset: reader.int64(),
          errorCode: reader.int16(),
        }))
      })
      return { throttleMs, result: results.flat() }
    },
  )
}
