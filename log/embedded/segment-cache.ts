import type { SegmentRef } from './storage.ts'

/**
 * The most recently written or read segments, by bytes. Consumers in the same process mostly read
 * what was just written, and small reads of one segment come back to it.
 */
export class SegmentCache {
  readonly #maxBytes: number
  readonly #values = new Map<string, Buffer>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  get(ref: SegmentRef): Buffer | undefined {
    return this.#values.get(keyOf(ref))
  }

  put(ref: SegmentRef, value: Buffer): void {
    if (value.length > this.#maxBytes) return
    this.delete(ref)
    this.#values.set(keyOf(ref), value)
    this.#bytes += value.length
    for (const [key, oldest] of this.#values) {
      if (this.#bytes <= this.#maxBytes) break
      this.#values.delete(key)
      this.#bytes -= oldest.length
    }
  }

  delete(ref: SegmentRef): void {
    const key = keyOf(ref)
    const value = this.#values.get(key)
    if (value === undefined) return
    this.#values.delete(key)
    this.#bytes -= value.length
  }
}

/**
 * All of the reference: compaction puts other segments where one was, and a reader may find them
 * before this cache hears of it.
 */
function keyOf(ref: SegmentRef): string {
  return `${ref.partitionId}/${ref.lastOffset}/${ref.baseOffset}/${ref.count}/${ref.byteLength}/${ref.perRecordTimes}`
}
