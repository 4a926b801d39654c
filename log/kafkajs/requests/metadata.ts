import { kafkaRequest, type KafkaRequest } from './request.ts'

export interface ClusterMetadata {
  readonly clusterId: string | null
  readonly controllerId: number
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
  readonly topics: readonly TopicMetadata[]
}

export interface TopicMetadata {
  /** 3: there is no such topic. */
  readonly errorCode: number
  readonly name: string
  /** As Kafka prints it; null where the topic is unknown. */
  readonly topicId: string | null
  readonly isInternal: boolean
  readonly partitions: readonly {
    /** 5: no leader at the moment. */
    readonly errorCode: number
    readonly partition: number
    /** A node's id; -1: none. */
    readonly leader: number
    readonly leaderEpoch: number
    readonly replicas: readonly number[]
    readonly inSyncReplicas: readonly number[]
  }[]
}

/** Metadata v10 (Kafka 2.8), which has topic ids. Creates no topic. `topics` null: all there are. */
export function metadataRequest(topics: readonly string[] | null): KafkaRequest<ClusterMetadata> {
  return kafkaRequest(
    { key: 3, version: 10, name: 'Metadata', flexible: true },
    (writer) => {
      writer.compactArray(topics, (name) => {
        writer.noUuid()
        writer.compactString(name)
        writer.noTags()
      })
      writer.bool(false)
      writer.bool(false)
      writer.bool(false)
      writer.noTags()
    },
    (reader) => {
      const nodes = (): number[] => reader.compactArray(() => reader.int32())
      const throttleMs = reader.int32()
      const brokers = reader.compactArray(() => {
        const broker = { nodeId: reader.int32(), host: reader.compactString(), port: reader.int32() }
        reader.compactNullableString()
        reader.skipTags()
        return broker
      })
      const clusterId = reader.compactNullableString()
      const controllerId = reader.int32()
      const found = reader.compactArray(() => {
        const topic = {
          errorCode: reader.int16(),
          name: reader.compactString(),
          topicId: reader.uuid(),
          isInternal: reader.bool(),
          partitions: reader.compactArray(() => {
            const partition = {
              errorCode: reader.int16(),
              partition: reader.int32(),
              leader: reader.int32(),
              leaderEpoch: reader.int32(),
              replicas: nodes(),
              inSyncReplicas: nodes(),
            }
            nodes()
            reader.skipTags()
            return partition
          }),
        }
        reader.int32()
        reader.skipTags()
        return topic
      })
      return { throttleMs, result: { clusterId, controllerId, brokers, topics: found } }
    },
  )
}
