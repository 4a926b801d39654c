import { kafkaRequest, type KafkaRequest } from './request.ts'

export interface DescribedTransaction {
  readonly errorCode: number
  /** `Empty`, `Ongoing`, `PrepareCommit`, `CompleteAbort`, … */
  readonly state: string
  /** By the coordinator's clock, epoch ms; -1: none has begun. */
  readonly startedMs: number
  readonly producerId: number
  readonly producerEpoch: number
}

const NOTHING = { errorCode: -1, state: '', startedMs: -1, producerId: -1, producerEpoch: -1 }

/**
 * DescribeTransactions v0 (Kafka 3.0), to the transactional id's coordinator. Reads what it has in memory; writes
 * nothing.
 */
export function describeTransactionRequest(transactionalId: string): KafkaRequest<DescribedTransaction> {
  return kafkaRequest(
    { key: 65, version: 0, name: 'DescribeTransactions', flexible: true },
    (writer) => {
      writer.compactArray([transactionalId], (id) => writer.compactString(id))
      writer.noTags()
    },
    (reader) => {
      const throttleMs = reader.int32()
      const states = reader.compactArray(() => {
        const errorCode = reader.int16()
        reader.compactString()
        const state = reader.compactString()
        reader.int32()
        const startedMs = reader.int64()
        const producerId = reader.int64()
        const producerEpoch = reader.int16()
        reader.compactArray(() => {
          reader.compactString()
          reader.compactArray(() => reader.int32())
          reader.skipTags()
        })
        reader.skipTags()
        return { errorCode, state, startedMs, producerId, producerEpoch }
      })
      return { throttleMs, result: states[0] ?? NOTHING }
    },
  )
}
