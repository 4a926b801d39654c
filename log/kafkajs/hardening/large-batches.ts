/**
 * Fault: KafkaJS gathers a fetch's records with `records.push(...batch.records)`, one argument a record: a
 * batch of some 125,000 overflows the stack, at every attempt (#1723).
 * Where: kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js.
 * Mended here: records are rows of one table, made once, as large as the batches' headers say together
 * (each count having been checked against its batch's bytes).
 */
import { OFFSET_DELTA, STRIDE } from '../../batch.ts'

export class RecordTable {
  readonly positions: Int32Array
  /** Rows in use. */
  count = 0
  /** Of each row, as soon as two rows differ. */
  #timestampsMs: Float64Array | null = null
  #timestampMs = 0

  constructor(maxCount: number) {
    this.positions = new Int32Array(maxCount * STRIDE)
  }

  /** Rows from `from` to before `count` have the same time. */
  setTimestamp(from: number, timestampMs: number): void {
    if (from === 0) this.#timestampMs = timestampMs
    else if (this.#timestampsMs !== null || timestampMs !== this.#timestampMs) {
      this.timestamps(from).fill(timestampMs, from, this.count)
    }
  }

  /** One time a row; those of the rows before `from` stand. */
  timestamps(from: number): Float64Array {
    if (this.#timestampsMs === null) {
      this.#timestampsMs = new Float64Array(this.positions.length / STRIDE)
      this.#timestampsMs.fill(this.#timestampMs, 0, from)
    }
    return this.#timestampsMs
  }

  /** The used rows, their offsets counted from the first one's. */
  finish(baseOffset: number): {
    readonly positions: Int32Array
    readonly count: number
    readonly baseOffset: number
    readonly timestampMs: number
    readonly timestampsMs: Float64Array | null
  } {
    const positions = this.positions.subarray(0, this.count * STRIDE)
    const skipped = positions[OFFSET_DELTA]!
    if (skipped > 0) for (let i = OFFSET_DELTA; i < positions.length; i += STRIDE) positions[i]! -= skipped
    return {
      positions,
      count: this.count,
      baseOffset: baseOffset + skipped,
      timestampMs: this.#timestampsMs?.[0] ?? this.#timestampMs,
      timestampsMs: this.#timestampsMs?.subarray(0, this.count) ?? null,
    }
  }
}
