/**
 * Fault: a producer's sequence numbers begin anew at 0 wherever the sum reaches 2^31 − 1, instead of going on behind
 * what was sent; the broker takes that for a gap (OUT_OF_ORDER_SEQUENCE_NUMBER) or for a duplicate, and what is sent
 * is refused or lost.
 * Where: kafkajs/src/producer/eosManager/index.js (`updateSequence`).
 * Mended here: 2^31 − 1 is followed by 0, also in the middle of a batch, as brokers count.
 */
const SEQUENCES = 2 ** 31

/** The sequence of the record that follows `count` records from `sequence` on. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % SEQUENCES
}
