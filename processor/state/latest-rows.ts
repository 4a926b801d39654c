import { BatchBuilder, KEY_END, KEY_START, STRIDE, VALUE_END, VALUE_START } from '../../log/batch.ts'
import type { TopicPartition } from '../../log/port.ts'
import { HASH, hashKey, INDEX_STRIDE, indexFor, place, SLOT } from './key-table.ts'
import type { StateRecords } from './port.ts'

/**
 * What a changelog says of each key last: applied in place of all the rows that were taken in, it comes to the same
 * with a write a key, however often the changelog has it.
 */
export class LatestRows implements StateRecords {
  /** A row's value may lie behind other rows. */
  readonly #rows: BatchBuilder
  #index = new Int32Array(0)

  constructor({ topic, partition }: TopicPartition) {
    this.#rows = new BatchBuilder(topic, partition)
  }

  get buffer(): Buffer {
    return this.#rows.buffer
  }

  get positions(): Int32Array {
    return this.#rows.positions
  }

  get count(): number {
    return this.#rows.count
  }

  /** Of what is in use. */
  get byteLength(): number {
    const { byteLength, count } = this.#rows
    return byteLength + count * STRIDE * Int32Array.BYTES_PER_ELEMENT + this.#index.byteLength
  }

  take({ buffer, positions, count }: StateRecords): void {
    for (let row = 0; row < count * STRIDE; row += STRIDE) {
      const start = positions[row + KEY_START]!
      const end = positions[row + KEY_END]!
      const valueStart = positions[row + VALUE_START]!
      const valueEnd = positions[row + VALUE_END]!
      const hash = hashKey(buffer, start, end)
      const slot = this.#find(hash, buffer, start, end)
      if (slot < 0) this.#append(hash, buffer, start, end, valueStart, valueEnd)
      else this.#setValue(slot * STRIDE, buffer, valueStart, valueEnd)
    }
  }

  /** Keeps the room. */
  clear(): void {
    this.#rows.clear()
    this.#index.fill(0)
  }

  /** The slot of a key, -1 where there is none. */
  #find(hash: number, buffer: Buffer, start: number, end: number): number {
    const index = this.#index
    const last = index.length - INDEX_STRIDE
    if (last < 0) return -1
    for (let at = (hash << 1) & last; ; at = (at + INDEX_STRIDE) & last) {
      const slot = index[at + SLOT]! - 1
      if (slot < 0) return -1
      if (index[at + HASH] === hash && this.#holds(slot * STRIDE, buffer, start, end)) return slot
    }
  }

  #append(
    hash: number,
    buffer: Buffer,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void {
    const rows = this.#rows
    this.#index = indexFor(rows.count + 1, this.#index)
    place(this.#index, hash, rows.count)
    rows.beginKey()
    rows.writer.range(buffer, keyStart, keyEnd)
    rows.beginValue()
    if (valueEnd >= 0) rows.writer.range(buffer, valueStart, valueEnd)
    rows.end(valueEnd < 0)
  }

  /** In the place of the value before, where it has room there. */
  #setValue(row: number, buffer: Buffer, start: number, end: number): void {
    const { positions, writer } = this.#rows
    const own = positions[row + VALUE_START]!
    if (end < 0) {
      positions[row + VALUE_END] = -1
    } else if (end - start <= positions[row + VALUE_END]! - own) {
      writer.overwrite(own, buffer, start, end)
      positions[row + VALUE_END] = own + end - start
    } else {
      positions[row + VALUE_START] = writer.position
      writer.range(buffer, start, end)
      positions[row + VALUE_END] = writer.position
    }
  }

  #holds(row: number, buffer: Buffer, start: number, end: number): boolean {
    const { positions, buffer: own } = this.#rows
    let at = positions[row + KEY_START]!
    if (positions[row + KEY_END]! - at !== end - start) return false
    for (let i = start; i < end; i++) if (own[at++] !== buffer[i]) return false
    return true
  }
}
