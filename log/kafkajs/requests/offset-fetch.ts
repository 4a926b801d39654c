import { groupByTopic } from '../hardening/quadratic-grouping.ts'
import type { TopicPartition } from '../../port.ts'
import { kafkaRequest, type KafkaRequest, type PartitionError } from './request.ts'

export interface CommittedOffset extends PartitionError {
  /** -1: none committed. */
  readonly offset: number
  readonly metadata: string
}

export interface OffsetFetchResult {
  /** Of the group as a whole. */
  readonly errorCode: number
  /** With `requireStable`, 88 says that a transaction holds the partition's offset open: ask again. */
  readonly partitions: CommittedOffset[]
}

/** OffsetFetch v7 (Kafka 2.5), which can wait for open transactions (KIP-447, design §6, open 1). */
export function offsetFetchRequest(options: {
  readonly groupId: string
  readonly partitions: readonly TopicPartition[]
  readonly requireStable: boolean
}): KafkaRequest<OffsetFetchResult> {
  return kafkaRequest(
    { key: 9, version: 7, name: 'OffsetFetch', flexible: true },
    (writer) => {
      writer.compactString(options.groupId)
      writer.compactArray(groupByTopic(options.partitions), ([topic, ofTopic]) => {
        writer.compactString(topic)
        writer.compactArray(ofTopic, ({ partition }) => writer.int32(partition))
        writer.noTags()
      })
      writer.bool(options.requireStable)
      writer.noTags()
    },
    (reader) => {
      const throttleMs = reader.int32()
      const partitions = reader.compactArray(() => {
        const topic = reader.compactString()
        const ofTopic = reader.compactArray(() => {
          const partition = reader.int32()
          const offset = reader.int64()
          reader.int32()
          const metadata = reader.compactString()
          const errorCode = reader.int16()
          reader.skipTags()
          return { topic, partition, offset, metadata, errorCode }
        })
        reader.skipTags()
        return ofTopic
      })
      return { throttleMs, result: { errorCode: reader.int16(), partitions: partitions.flat() } }
    },
  )
}
