/** What this client may do, as the broker sees it. */
import { kafkaRequest, type KafkaRequest } from './request.ts'

/** Kafka's operations, by the bit that stands for each. */
const OPERATIONS = {
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  describeConfigs: 10,
  alterConfigs: 11,
} as const

export type Operation = keyof typeof OPERATIONS

export interface AuthorizedOperations {
  readonly cluster: ReadonlySet<Operation>
  readonly topics: readonly {
    readonly name: string
    /** 3: there is no such topic · 29: we may not even know whether there is one. */
    readonly errorCode: number
    readonly operations: ReadonlySet<Operation>
  }[]
}

/** Metadata v10 (Kafka 2.8) once more, for its bit fields alone. */
export function authorizedOperationsRequest(topics: readonly string[]): KafkaRequest<AuthorizedOperations> {
  return kafkaRequest(
    { key: 3, version: 10, name: 'Metadata', flexible: true },
    (writer) => {
      writer.compactArray(topics, (name) => {
        writer.noUuid()
        writer.compactString(name)
        writer.noTags()
      })
      writer.bool(false)
      writer.bool(true)
      writer.bool(true)
      writer.noTags()
    },
    (reader) => {
      const nodes = (): unknown => reader.compactArray(() => reader.int32())
      const throttleMs = reader.int32()
      reader.compactArray(() => {
        reader.int32()
        reader.compactString()
        reader.int32()
        reader.compactNullableString()
        reader.skipTags()
      })
      reader.compactNullableString()
      reader.int32()
      const found = reader.compactArray(() => {
        const errorCode = reader.int16()
        const name = reader.compactString()
        reader.uuid()
        reader.bool()
        reader.compactArray(() => {
          reader.int16()
          for (let i = 0; i < 3; i++) reader.int32()
          for (let i = 0; i < 3; i++) nodes()
          reader.skipTags()
        })
        const operations = operationsOf(reader.int32())
        reader.skipTags()
        return { name, errorCode, operations }
      })
      return { throttleMs, result: { cluster: operationsOf(reader.int32()), topics: found } }
    },
  )
}

/** All bits clear but the highest: the broker did not say. */
const NOT_SAID = -0x8000_0000

function operationsOf(bits: number): ReadonlySet<Operation> {
  const all = Object.keys(OPERATIONS) as Operation[]
  return new Set(
    bits === NOT_SAID ? [] : all.filter((operation) => (bits & (1 << OPERATIONS[operation])) !== 0),
  )
}
