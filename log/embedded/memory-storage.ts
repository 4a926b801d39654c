import type { Change, SegmentRef, SegmentStorage } from './storage.ts'

interface Stored {
  readonly segment: SegmentRef
  readonly value: Buffer
}

/** The same semantics, nothing on disk. A log that is opened on it again finds what was written. */
export class MemoryStorage implements SegmentStorage {
  readonly #partitions = new Map<number, Stored[]>()
  readonly #entries = new Map<string, string>()

  entries(): Iterable<readonly [string, string]> {
    return this.#entries
  }

  segmentsFrom(partitionId: number, offset: number, limit: number): SegmentRef[] {
    const stored = this.#partitions.get(partitionId) ?? []
    const first = firstEndingAt(stored, offset)
    return stored.slice(first, first + limit).map(({ segment }) => segment)
  }

  read(segment: SegmentRef): Buffer | null {
    const stored = this.#partitions.get(segment.partitionId) ?? []
    const found = stored[firstEndingAt(stored, segment.lastOffset)]
    return found?.segment.lastOffset === segment.lastOffset ? found.value : null
  }

  async write(changes: readonly Change[]): Promise<void> {
    for (const change of changes) {
      if ('segment' in change) this.#put(change.segment, change.value)
      else if (change.value === null) this.#entries.delete(change.entry)
      else this.#entries.set(change.entry, change.value)
    }
  }

  async close(): Promise<void> {
    // Nothing is held.
  }

  #put(segment: SegmentRef, value: Buffer | null): void {
    let stored = this.#partitions.get(segment.partitionId)
    if (stored === undefined) this.#partitions.set(segment.partitionId, (stored = []))
    const at = firstEndingAt(stored, segment.lastOffset)
    const replaced = stored[at]?.segment.lastOffset === segment.lastOffset ? 1 : 0
    if (value === null) stored.splice(at, replaced)
    else stored.splice(at, replaced, { segment, value })
  }
}

function firstEndingAt(stored: readonly Stored[], offset: number): number {
  let low = 0
  let high = stored.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (stored[middle]!.segment.lastOffset < offset) low = middle + 1
    else high = middle
  }
  return low
}
