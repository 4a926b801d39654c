import { groupByTopic } from '../hardening/quadratic-grouping.ts'
import { kafkaRequest, type KafkaRequest, type PartitionError } from './request.ts'

export interface ProducePartition {
  readonly topic: string
  readonly partition: number
  /** One record batch as `encodeRecordBatch` wrote it; a retry sends the same bytes. */
  readonly records: Uint8Array
}

export interface ProducedPartition extends PartitionError {
  /** Of the batch's first record; -1 where an error says so. */
  readonly baseOffset: number
  /** Epoch ms where the topic has append times; else -1. */
  readonly logAppendTimeMs: number
  readonly logStartOffset: number
  /** The broker's own words about a refused batch, where it has any. */
  readonly errorMessage: string | null
}

/** Produce v8 (Kafka 2.4; v7's answer and the broker's error texts), acknowledged by all in-sync replicas. */
export function produceRequest(options: {
  readonly transactionalId: string | null
  /** How long the broker waits for its replicas. */
  readonly timeoutMs: number
  /** At most one entry a partition. */
  readonly partitions: readonly ProducePartition[]
}): KafkaRequest<ProducedPartition[]> {
  const { transactionalId, timeoutMs, partitions } = options
  return kafkaRequest(
    { key: 0, version: 8, name: 'Produce', flexible: false },
    (writer) => {
      writer.string(transactionalId)
      writer.int16(-1)
      writer.int32(timeoutMs)
      writer.array(groupByTopic(partitions), ([topic, ofTopic]) => {
        writer.string(topic)
        writer.array(ofTopic, ({ partition, records }) => {
          writer.int32(partition)
          writer.records(records)
        })
      })
    },
    (reader) => {
      const results = reader.array(() => {
        const topic = reader.string()
        return reader.array(() => {
          const partition = reader.int32()
          const errorCode = reader.int16()
          const baseOffset = reader.int64()
          const logAppendTimeMs = reader.int64()
          const logStartOffset = reader.int64()
          const refused = reader.array(() => (reader.int32(), reader.nullableString()))
          const errorMessage = reader.nullableString() ?? refused.find((text) => text !== null) ?? null
          return { topic, partition, errorCode, baseOffset, logAppendTimeMs, logStartOffset, errorMessage }
        })
      })
      return { throttleMs: reader.int32(), result: results.flat() }
    },
    4096 + 16 * partitions.length,
  )
}
