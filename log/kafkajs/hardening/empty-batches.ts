/**
 * Fault: KafkaJS moves its position by the records that it sees. Compaction leaves batches without one,
 * kept for their producer's sequence, and a fetch that begins at such a batch is repeated for ever (#1072).
 * Batches that hold only control or aborted records have a like fate in `eachBatch`, which never sees them.
 * Where: kafkajs/src/consumer/batch.js (lastOffset), kafkajs/src/consumer/runner.js.
 * Mended here: the position moves by what each batch's header says, whether or not a record of it is given
 * on; and a batch that is given on takes the hidden ones behind it along, so that who commits its next
 * offset does not stay behind them.
 */
export class FetchPosition {
  #nextOffset: number
  #given: { nextOffset: number } | null = null

  constructor(fetchOffset: number) {
    this.#nextOffset = fetchOffset
  }

  get nextOffset(): number {
    return this.#nextOffset
  }

  /** Behind a batch none of whose records is given on. */
  passHidden(lastOffset: number): void {
    this.#nextOffset = Math.max(this.#nextOffset, lastOffset + 1)
    if (this.#given !== null) this.#given.nextOffset = this.#nextOffset
  }

  /** Behind a batch that is given on: its `nextOffset` is kept up to date until the next one. */
  passGiven(batch: { readonly lastOffset: number; nextOffset: number }): void {
    this.#given = batch
    this.passHidden(batch.lastOffset)
  }
}
