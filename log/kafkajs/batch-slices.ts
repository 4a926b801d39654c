import { HEADERS_END, KEY_END, KEY_START, type RecordBatch, STRIDE, VALUE_END } from '../batch.ts'
import type { MemoryLease } from './memory-lease.ts'

/** A fetched batch that is handed out piece by piece, as much as each caller wants. */
export class BatchSlices {
  readonly #batch: RecordBatch
  readonly #lease: MemoryLease | null
  #next = 0

  /** @param lease of the memory that the batch lies in; null: it is left to the garbage collector */
  constructor(batch: RecordBatch, lease: MemoryLease | null) {
    this.#batch = batch
    this.#lease = lease?.retain() ?? null
  }

  get isEmpty(): boolean {
    return this.#next >= this.#batch.count
  }

  /** Bytes of records that are left. */
  get bytes(): number {
    return this.isEmpty ? 0 : endOf(this.#batch, this.#batch.count - 1) - this.#startOf(this.#next)
  }

  /** As many records as fit, but one at least. All of it, at no cost, where it fits as a whole. */
  take(maxBytes: number): RecordBatch {
    const batch = this.#batch
    const from = this.#next
    const start = this.#startOf(from)
    let to = batch.count
    if (this.bytes > maxBytes) {
      to = from + 1
      while (to < batch.count && endOf(batch, to) - start <= maxBytes) to++
    }
    this.#next = to
    const isWhole = from === 0 && to === batch.count
    const piece = isWhole ? batch : batch.slice(from, to)
    if (this.#lease === null) return piece
    piece.hold(this.#lease.retain())
    if (this.isEmpty) this.#lease.release()
    return piece
  }

  #startOf(index: number): number {
    return this.#batch.positions[index * STRIDE + KEY_START]!
  }
}

function endOf({ positions }: RecordBatch, index: number): number {
  const row = index * STRIDE
  return Math.max(positions[row + KEY_END]!, positions[row + VALUE_END]!, positions[row + HEADERS_END]!)
}
