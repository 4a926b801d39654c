import { ByteWriter, KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../log/batch.ts'
import { HASH, hashKey, INDEX_STRIDE, indexFor, place, SLOT } from './key-table.ts'
import type { StateRecords } from './port.ts'

/**
 * What a changelog says of each key last: applied in place of all the rows that were taken in, it comes to the same
 * with a write a key, however often the changelog has it.
 */
export class LatestRows implements StateRecords {
  count = 0
  /** As a batch's; a row's value may lie before its key. */
  positions = new Int32Array(STRIDE * 64)
  readonly #bytes = new ByteWriter(4_096)
  #index = new Int32Array(0)

  get buffer(): Buffer {
    return this.#bytes.buffer
  }

  /** Of what is in use. */
  get byteLength(): number {
    return this.#bytes.position + this.count * STRIDE * Int32Array.BYTES_PER_ELEMENT + this.#index.byteLength
  }

  take({ buffer, positions, count }: StateRecords): void {
    for (let row = 0; row < count * STRIDE; row += STRIDE) {
      const own = this.#rowOf(buffer, positions[row + KEY_START]!, positions[row + KEY_END]!)
      this.#setValue(own, buffer, positions[row + VALUE_START]!, positions[row + VALUE_END]!)
    }
  }

  /** Keeps the room. */
  clear(): void {
    this.count = 0
    this.#bytes.position = 0
    this.#index.fill(0)
  }

  /** Of a key, made where there is none. */
  #rowOf(buffer: Buffer, start: number, end: number): number {
    const hash = hashKey(buffer, start, end)
    const index = this.#index
    const last = index.length - INDEX_STRIDE
    for (let at = (hash << 1) & last; last >= 0; at = (at + INDEX_STRIDE) & last) {
      const slot = index[at + SLOT]! - 1
      if (slot < 0) break
      if (index[at + HASH] === hash && this.#holds(slot * STRIDE, buffer, start, end)) return slot * STRIDE
    }
    return this.#insert(hash, buffer, start, end)
  }

  #insert(hash: number, buffer: Buffer, start: number, end: number): number {
    const slot = this.count++
    const row = slot * STRIDE
    if (row === this.positions.length) {
      const grown = new Int32Array(this.positions.length * 2)
      grown.set(this.positions)
      this.positions = grown
    }
    this.#index = indexFor(this.count, this.#index)
    place(this.#index, hash, slot)
    this.positions[row + KEY_START] = this.#bytes.position
    this.#bytes.range(buffer, start, end)
    this.positions[row + KEY_END] = this.#bytes.position
    // No room for a value yet.
    this.positions[row + VALUE_START] = this.#bytes.position
    this.positions[row + VALUE_END] = this.#bytes.position
    return row
  }

  /** In the place of the value before, where it has room there. */
  #setValue(row: number, buffer: Buffer, start: number, end: number): void {
    const { positions } = this
    const bytes = this.#bytes
    const own = positions[row + VALUE_START]!
    if (end < 0) {
      positions[row + VALUE_END] = -1
    } else if (end - start <= positions[row + VALUE_END]! - own) {
      bytes.overwrite(own, buffer, start, end)
      positions[row + VALUE_END] = own + end - start
    } else {
      positions[row + VALUE_START] = bytes.position
      bytes.range(buffer, start, end)
      positions[row + VALUE_END] = bytes.position
    }
  }

  #holds(row: number, buffer: Buffer, start: number, end: number): boolean {
    let at = this.positions[row + KEY_START]!
    if (this.positions[row + KEY_END]! - at !== end - start) return false
    const own = this.#bytes.buffer
    for (let i = start; i < end; i++) if (own[at++] !== buffer[i]) return false
    return true
  }
}
