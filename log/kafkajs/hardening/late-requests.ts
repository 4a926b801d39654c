/**
 * Fault: a request of a transaction that is sent again, since its connection broke or its answer did not come in
 * time, may still stand in the broker's queue as well. All transactions of one producer have one epoch, so that what
 * comes late can hit the next of them: an EndTxn commits it half-way, its outputs without its offsets; a
 * TxnOffsetCommit puts older offsets into it (KIP-890's hazard; brokers cure it from EndTxn v5 on only).
 * Where: kafkajs/src/producer/eosManager/index.js, which keeps one epoch as long as it lives.
 * Mended here: whoever got no answer to such a request takes a new epoch (InitProducerId with the present one) before
 * the next transaction begins, so that what is late is refused (47, 90). Produce needs none of it: it carries
 * sequences. An InitProducerId that is itself late can only fence: nothing is lost or doubled by that.
 */
import { ConnectionLost } from '../errors.ts'

export class LateRequests {
  #mayCome = false

  /** Whether a request of this epoch may still be on its way, though it was sent again or given up. */
  get mayCome(): boolean {
    return this.#mayCome
  }

  /** @returns the answer; none within its time is noted */
  async watch<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      if (error instanceof ConnectionLost) this.#mayCome = true
      throw error
    }
  }
}
