/**
 * Fault: KafkaJS moves a partition's sequence on before the answer is there, rolls it back when a send fails, and
 * releases the broker's lock before it tries again. A send that timed out but was appended, and another send that
 * slips in between, then share sequence numbers: the broker drops the second as a duplicate of the first and says
 * that all is well. Records are lost.
 * Where: kafkajs/src/producer/sendMessages.js, kafkajs/src/producer/eosManager/index.js.
 * Mended here: a batch is given its sequence once and keeps it, and its bytes, until the broker has said what became
 * of it; nothing else of the partition is sent before, and only then does the sequence move on.
 */
import { sequenceAfter } from './sequence-wrap.ts'

export class PartitionSequences {
  readonly #next = new Map<string, number>()
  readonly #inFlight = new Set<string>()

  /** The base sequence of the partition's next batch, which is then in flight until it is settled. */
  take(partition: string): number {
    if (this.#inFlight.has(partition)) throw new Error(`A batch of ${partition} is in flight already`)
    this.#inFlight.add(partition)
    return this.#next.get(partition) ?? 0
  }

  /** The broker holds the batch, or has refused it: in the latter case it counts for nothing. */
  settle(partition: string, sequence: number, appended: number): void {
    this.#inFlight.delete(partition)
    this.#next.set(partition, sequenceAfter(sequence, appended))
  }
}
