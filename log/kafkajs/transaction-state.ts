import { assertAccepted, KAFKA } from './errors.ts'
import type { Client } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { kafkaRequest, type KafkaRequest } from './requests/request.ts'
import type { TransactionIdentity } from './requests/transactions.ts'

interface TransactionDescription {
  readonly errorCode: number
  /** `Ongoing`, `PrepareCommit`, `CompleteCommit`… */
  readonly state: string
  readonly producerId: number
  readonly producerEpoch: number
}

/** DescribeTransactions v0 (Kafka 3.0). Reads what the coordinator has in memory; writes nothing. */
export function describeTransactionRequest(transactionalId: string): KafkaRequest<TransactionDescription> {
  return kafkaRequest(
    { key: 65, version: 0, name: 'DescribeTransactions', flexible: true },
    (writer) => {
      writer.compactArray([transactionalId], (id) => writer.compactString(id))
      writer.noTags()
    },
    (reader) => {
      const throttleMs = reader.int32()
      const [result] = reader.compactArray(() => {
        const errorCode = reader.int16()
        reader.compactString()
        const state = reader.compactString()
        reader.int32()
        reader.int64()
        const producerId = reader.int64()
        const producerEpoch = reader.int16()
        reader.compactArray(() => {
          reader.compactString()
          reader.compactArray(() => reader.int32())
          reader.skipTags()
        })
        reader.skipTags()
        return { errorCode, state, producerId, producerEpoch }
      })
      return { throttleMs, result: result! }
    },
  )
}

/**
 * Waits until a decided transaction's markers stand in every partition. EndTxn answers before that, and until then
 * read_committed readers see nothing of it, and the committed offsets are the old ones.
 */
export async function untilVisible(
  client: Client,
  coordinators: Coordinators,
  identity: TransactionIdentity,
): Promise<void> {
  const { transactionalId } = identity
  const request = describeTransactionRequest(transactionalId)
  await client.retrying(`Waiting for the markers of transaction ${transactionalId}`, async () => {
    const found = await coordinators.send(
      'transaction',
      transactionalId,
      request,
      ({ errorCode }) => errorCode,
    )
    // Its transactions are all long over.
    if (found.errorCode === KAFKA.transactionalIdNotFound) return
    assertAccepted(found.errorCode, `Describing transaction ${transactionalId}`)
    // A newer producer is initialised only once the transaction is over.
    if (found.producerId !== identity.producerId || found.producerEpoch !== identity.producerEpoch) return
    if (found.state.startsWith('Prepare')) assertAccepted(KAFKA.concurrentTransactions, transactionalId)
  })
}
