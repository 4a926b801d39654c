/**
 * Fault: KafkaJS hands on records of aborted transactions. It takes the broker's list as sorted by first
 * offset (it is sorted by where the transactions ended); it begins at most one transaction a record (`if`
 * where `while` is needed), so that of two that were open before the fetch began one leaks; and it takes a
 * record of the user's whose key is four zero bytes for an abort marker.
 * Where: kafkajs/src/consumer/filterAbortedMessages.js.
 * Mended here: the list is sorted, all that begin up to a batch's last offset are begun, and only a control
 * batch's record can end one. By batch, as Java's consumer does it: a batch is one producer's.
 */
export interface AbortedTransaction {
  readonly producerId: number
  /** Of its first record in this partition. */
  readonly firstOffset: number
}

export class AbortedTransactions {
  readonly #pending: readonly AbortedTransaction[]
  #next = 0
  readonly #aborted = new Set<number>()

  /** What one Fetch response says of one partition, in any order. */
  constructor(transactions: readonly AbortedTransaction[]) {
    this.#pending = transactions.toSorted((a, b) => a.firstOffset - b.firstOffset)
  }

  /** Whether the batch's records are to be left out. Ask for every batch of the fetch, in order. */
  hides(batch: {
    readonly producerId: number
    readonly lastOffset: number
    readonly isTransactional: boolean
    readonly isAbortMarker: boolean
  }): boolean {
    while (this.#next < this.#pending.length && this.#pending[this.#next]!.firstOffset <= batch.lastOffset) {
      this.#aborted.add(this.#pending[this.#next++]!.producerId)
    }
    if (batch.isAbortMarker) this.#aborted.delete(batch.producerId)
    return batch.isTransactional && this.#aborted.has(batch.producerId)
  }
}
