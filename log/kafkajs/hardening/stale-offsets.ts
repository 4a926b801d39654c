/**
 * Fault: an offset that was committed in a transaction is not there yet when EndTxn has answered, and KafkaJS's
 * OffsetFetch (v4 at most) gives the one before it: records are processed twice after a rebalance.
 * Where: kafkajs/src/protocol/requests/offsetFetch, consumer/offsetManager (offsets are asked for once, at the join).
 * Mended here: OffsetFetch v7 asks for stable offsets only (KIP-447), and is asked again while a transaction holds
 * one of them open (88). Open step 1.
 */
import type { OffsetAndMetadata, TopicPartition } from '../../port.ts'
import type { Client } from '../client.ts'
import type { Coordinators } from '../coordinators.ts'
import { assertAccepted, nameOf } from '../errors.ts'
import { offsetFetchRequest } from '../requests/offset-fetch.ts'

/**
 * Committed offsets, in the order asked; null: none.
 * @param isStable waits until no transaction holds any of them open
 */
export async function fetchOffsets(
  client: Client,
  coordinators: Coordinators,
  groupId: string,
  partitions: readonly TopicPartition[],
  isStable: boolean,
): Promise<(OffsetAndMetadata | null)[]> {
  if (partitions.length === 0) return []
  const subject = `Committed offsets of group ${groupId}`
  const request = offsetFetchRequest({ groupId, partitions, requireStable: isStable })
  return client.retrying(subject, async () => {
    const { errorCode, partitions: found } = await coordinators.send(
      'group',
      groupId,
      request,
      (answer) => answer.errorCode,
    )
    assertAccepted(errorCode, subject)
    const byName = new Map(found.map((committed) => [nameOf(committed), committed]))
    return partitions.map((partition) => {
      const committed = byName.get(nameOf(partition))
      if (committed === undefined) return null
      assertAccepted(committed.errorCode, `${subject}, ${nameOf(partition)}`)
      const { topic, partition: number, offset, metadata } = committed
      return offset < 0 ? null : { topic, partition: number, offset, metadata }
    })
  })
}
