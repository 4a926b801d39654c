/** What topics and brokers are set to, read and changed one setting at a time. */
import { kafkaRequest, type KafkaRequest } from './request.ts'

export interface ConfigResource {
  readonly type: 'topic' | 'broker'
  /** A topic's name, or a broker's node id. */
  readonly name: string
}

export interface DescribedConfigs extends ConfigResource {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly entries: readonly {
    readonly name: string
    /** null where it is secret. */
    readonly value: string | null
    /** Set for this topic or broker itself; else it is inherited. */
    readonly isOwn: boolean
  }[]
}

const RESOURCE_TYPES = { topic: 2, broker: 4 } as const
const DYNAMIC_TOPIC_CONFIG = 1

/** DescribeConfigs v1 (Kafka 1.1). A broker answers for itself only: ask that one. */
export function describeConfigsRequest(
  resources: readonly (ConfigResource & { readonly names: readonly string[] })[],
): KafkaRequest<DescribedConfigs[]> {
  return kafkaRequest(
    { key: 32, version: 1, name: 'DescribeConfigs', flexible: false },
    (writer) => {
      writer.array(resources, ({ type, name, names }) => {
        writer.int8(RESOURCE_TYPES[type])
        writer.string(name)
        writer.array(names, (wanted) => writer.string(wanted))
      })
      writer.bool(false)
    },
    (reader) => {
      const throttleMs = reader.int32()
      const result = reader.array(() => {
        const errorCode = reader.int16()
        const errorMessage = reader.nullableString()
        const type = reader.int8() === RESOURCE_TYPES.broker ? ('broker' as const) : ('topic' as const)
        const name = reader.string()
        const entries = reader.array(() => {
          const entry = { name: reader.string(), value: reader.nullableString() }
          reader.bool()
          const source = reader.int8()
          reader.bool()
          reader.array(() => {
            reader.string()
            reader.nullableString()
            reader.int8()
          })
          return { ...entry, isOwn: source === DYNAMIC_TOPIC_CONFIG }
        })
        return { type, name, errorCode, errorMessage, entries }
      })
      return { throttleMs, result }
    },
  )
}

export interface AlteredConfigs extends ConfigResource {
  readonly errorCode: number
  readonly errorMessage: string | null
}

const SET = 0

/** IncrementalAlterConfigs v0 (Kafka 2.3): what is not named stays, which AlterConfigs would reset. */
export function alterConfigsRequest(
  resources: readonly (ConfigResource & { readonly set: Readonly<Record<string, string>> })[],
): KafkaRequest<AlteredConfigs[]> {
  return kafkaRequest(
    { key: 44, version: 0, name: 'IncrementalAlterConfigs', flexible: false },
    (writer) => {
      writer.array(resources, ({ type, name, set }) => {
        writer.int8(RESOURCE_TYPES[type])
        writer.string(name)
        writer.array(Object.entries(set), ([key, value]) => {
          writer.string(key)
          writer.int8(SET)
          writer.string(value)
        })
      })
      writer.bool(false)
    },
    (reader) => {
      const throttleMs = reader.int32()
      const result = reader.array(() => ({
        errorCode: reader.int16(),
        errorMessage: reader.nullableString(),
        type: reader.int8() === RESOURCE_TYPES.broker ? ('broker' as const) : ('topic' as const),
        name: reader.string(),
      }))
      return { throttleMs, result }
    },
  )
}
