import { assertAccepted, KAFKA } from './errors.ts'
import type { Client } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { describeTransactionRequest } from './requests/describe-transaction.ts'
import type { TransactionIdentity } from './requests/transactions.ts'

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
