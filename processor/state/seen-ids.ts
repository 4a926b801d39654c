import type { BatchBuilder } from '../../log/batch.ts'
import { grownCapacity, KeyTable } from './key-table.ts'
import { writeKey } from './keys.ts'

/** Bytes of a segment that holds nothing, as measured on V8. */
const SEGMENT_BYTES = 1_000

/** The ids of one segment of ingestion time, each with that of the copy that was kept, oldest insertion first. */
export class SeenIds {
  readonly startMs: number
  /** What the ids in the state begin with. */
  readonly prefix: Buffer
  /** Everything in the state is here too: a miss needs no read. */
  complete = true
  readonly ids = new KeyTable()
  #timesMs = new Float64Array(0)
  /** Ids below have been written by a commit. */
  #frozen = 0
  /** Ids below are in the state. */
  #applied = 0

  constructor(startMs: number, prefix: Buffer) {
    this.startMs = startMs
    this.prefix = prefix
  }

  /** Of all that it takes, in use or not. */
  get byteLength(): number {
    return SEGMENT_BYTES + this.ids.byteLength + this.#timesMs.byteLength
  }

  /** Ids that can be let go. */
  get appliedCount(): number {
    return this.#applied
  }

  get isApplied(): boolean {
    return this.#applied === this.ids.count
  }

  /** undefined: it is not here. */
  timeOf(hash: number, bytes: Uint8Array, start: number, end: number): number | undefined {
    const slot = this.ids.find(hash, bytes, start, end)
    return slot < 0 ? undefined : this.#timesMs[slot]
  }

  /** Takes in an id that is not here. */
  add(hash: number, bytes: Uint8Array, start: number, end: number, timeMs: number): void {
    const slot = this.ids.insert(hash, bytes, start, end)
    if (slot >= this.#timesMs.length) {
      const grown = new Float64Array(grownCapacity(this.#timesMs.length, slot + 1))
      grown.set(this.#timesMs)
      this.#timesMs = grown
    }
    this.#timesMs[slot] = timeMs
  }

  /** Writes what is new since the last commit. @returns how many records */
  writeNew(changelog: BatchBuilder): number {
    const { ids } = this
    const { writer } = changelog
    const from = this.#frozen
    for (let slot = from; slot < ids.count; slot++) {
      changelog.beginKey()
      writeKey(writer, this.prefix, ids.keys, ids.startOf(slot), ids.endOf(slot))
      changelog.beginValue()
      writer.ensure(8)
      writer.position = writer.buffer.writeDoubleLE(this.#timesMs[slot]!, writer.position)
      changelog.end()
    }
    this.#frozen = ids.count
    return ids.count - from
  }

  release(): void {
    this.#applied = this.#frozen
  }

  /** Lets the oldest applied ids go, so many. */
  forget(count: number): void {
    const kept = Int32Array.from({ length: this.ids.count - count }, (_, i) => i + count)
    this.ids.keep(kept)
    this.#timesMs = this.#timesMs.slice(count, count + kept.length)
    this.#frozen -= count
    this.#applied -= count
    this.complete = false
  }
}
