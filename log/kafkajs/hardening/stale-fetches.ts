/**
 * Fault: what KafkaJS fetched before a seek or a rebalance is handed out after it, unless the caller asks
 * `isStale()` for every batch: records of partitions that are somebody else's by now, or from before the position
 * that was sought.
 * Where: kafkajs/src/consumer/fetchManager.js, runner.js (a fetch in flight outlives the generation).
 * Mended here: every fetch carries the turn of its partition, which a seek or a new assignment changes; an answer of
 * an earlier turn is dropped as it comes in, and so is what was buffered.
 */
export class FetchTurn {
  #turn = 0

  /** From now on what was asked for before counts for nothing. */
  next(): void {
    this.#turn++
  }

  /** Whether what is asked for now is still wanted, to be called when its answer is there. */
  ask(): () => boolean {
    const asked = this.#turn
    return () => asked === this.#turn
  }
}
