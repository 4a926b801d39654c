import { kafkaRequest, type KafkaRequest } from './request.ts'

export interface DescribedGroup {
  readonly errorCode: number
  /** In Kafka's words: `Stable`, `Empty`, `Dead` (there is none), … */
  readonly state: string
  readonly members: readonly {
    readonly memberId: string
    readonly clientId: string
    /** As the broker sees it: `/10.0.0.7`. */
    readonly host: string
    /** What it said when it joined, and what it was given; both empty while the group rebalances. */
    readonly metadata: Buffer
    readonly assignment: Buffer
  }[]
}

/** DescribeGroups v5 (Kafka 2.4), of one group: each has a coordinator of its own. */
export function describeGroupRequest(groupId: string): KafkaRequest<DescribedGroup> {
  return kafkaRequest(
    { key: 15, version: 5, name: 'DescribeGroups', flexible: true },
    (writer) => {
      writer.compactArray([groupId], (id) => writer.compactString(id))
      writer.bool(false)
      writer.noTags()
    },
    (reader) => {
      const throttleMs = reader.int32()
      const groups = reader.compactArray((): DescribedGroup => {
        const errorCode = reader.int16()
        reader.compactString()
        const state = reader.compactString()
        reader.compactString()
        reader.compactString()
        const members = reader.compactArray(() => {
          const memberId = reader.compactString()
          reader.compactNullableString()
          const clientId = reader.compactString()
          const host = reader.compactString()
          const metadata = reader.compactBytes()
          const assignment = reader.compactBytes()
          reader.skipTags()
          return { memberId, clientId, host, metadata, assignment }
        })
        reader.int32()
        reader.skipTags()
        return { errorCode, state, members }
      })
      return { throttleMs, result: groups[0] ?? { errorCode: 0, state: 'Dead', members: [] } }
    },
  )
}
