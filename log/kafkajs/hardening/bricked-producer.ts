/**
 * Fault: after any EndTxn that fails, KafkaJS's producer stands in COMMITTING or ABORTING for ever, and a commit
 * whose answer was lost looks like one that failed (issues 1275, 1355): callers abort, or send it all again.
 * Where: kafkajs/src/producer/eosManager/index.js (`commit`, `abort`).
 * Mended here: within its transaction EndTxn means the same however often it is sent, so it is sent until the
 * coordinator says what became of it (late-requests.ts keeps the copies out of the next one); where it does not, the
 * caller is told that nobody knows (OUTCOME_UNKNOWN), and never guesses.
 */
import { LogError } from '../../errors.ts'
import type { Client } from '../client.ts'
import type { Coordinators } from '../coordinators.ts'
import { ConnectionLost, isPassing, kafkaError } from '../errors.ts'
import { endTxnRequest, type TransactionIdentity } from '../requests/transactions.ts'
import { untilVisible } from '../transaction-state.ts'
import type { LateRequests } from './late-requests.ts'

/**
 * Resolves once the decision stands and readers see it.
 * @param timeoutMs how long it is tried; default as everything else
 * @param refused what an error code of the coordinator means for this producer
 * @throws LogError OUTCOME_UNKNOWN, or what `refused` gives: then the decision was not taken
 */
export async function endTransaction(
  client: Client,
  coordinators: Coordinators,
  { identity, late }: { readonly identity: TransactionIdentity; readonly late: LateRequests },
  decision: 'commit' | 'abort',
  refused: (kafkaCode: number, subject: string) => Error,
  timeoutMs?: number,
): Promise<void> {
  const { transactionalId } = identity
  const subject = `The ${decision} of transaction ${transactionalId}`
  const request = endTxnRequest(identity, decision === 'commit')
  const retry = client.retry(subject, timeoutMs)
  let mayBeDecided = false
  for (;;) {
    try {
      const errorCode = await late.watch(
        coordinators.send('transaction', transactionalId, request, (code) => code),
      )
      if (errorCode === 0) break
      const error = kafkaError(errorCode, subject)
      if (isPassing(error)) throw error
      // An earlier try may have been carried out before somebody else took the id over.
      if (mayBeDecided) throw outcomeUnknown(subject, error)
      throw refused(errorCode, subject)
    } catch (error) {
      if (error instanceof ConnectionLost) mayBeDecided = true
      if (!isPassing(error)) {
        retry.succeeded()
        throw error
      }
      await retry.pause(error).catch((final: unknown) => {
        throw mayBeDecided ? outcomeUnknown(subject, final) : final
      })
    }
  }
  retry.succeeded()
  await untilVisible(client, coordinators, identity)
}

function outcomeUnknown(subject: string, cause: unknown): LogError {
  return new LogError(
    'OUTCOME_UNKNOWN',
    `${subject} was sent, and nobody knows whether it was carried out (${(cause as Error).message}): ` +
      'discard the producer, open again and read where things stand',
    { cause },
  )
}
