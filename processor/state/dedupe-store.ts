import { ByteWriter, type BatchBuilder } from '../../log/batch.ts'
import type { CacheBudget } from './cache-budget.ts'
import { KeyTable } from './key-table.ts'
import { segmentPrefix, writeKey } from './keys.ts'
import type { TaskState } from './port.ts'
import { SeenIds } from './seen-ids.ts'

/** Told which row of the changelog batch is the first of a run of records of a segment. */
export type SegmentTouched = (segmentMs: number, row: number) => void

/** What is let go at once beyond the excess, as a share of the budget: making a segment anew costs. */
const SPARE_SHARE = 1 / 8

/** Which ids were seen, in segments of ingestion time (design §8, Dedupe). Ids are bytes, equal where the ids are. */
export class DedupeStore {
  readonly id: number
  readonly #horizonMs: number
  readonly #segmentMs: number
  readonly #budget: CacheBudget
  /** Few, in no order. */
  #segments: SeenIds[] = []
  /** Ids to read, as the state has them. */
  #wanted = new KeyTable()
  /** Those that the last prefetch read: repetitions of ids that were evicted are among them. */
  #fetched = new KeyTable()
  /** When they were kept; NaN: the state has none. */
  #fetchedMs = new Float64Array(0)
  readonly #key = new ByteWriter(64)
  #countedBytes = 0

  constructor(id: number, options: { horizonMs: number; segmentMs: number; budget: CacheBudget }) {
    this.id = id
    this.#horizonMs = options.horizonMs
    this.#segmentMs = options.segmentMs
    this.#budget = options.budget
  }

  /** The segments that the state holds already, as the task record lists them. */
  restore(segments: Iterable<number>): void {
    for (const startMs of segments) this.#segment(startMs).complete = false
  }

  /** True where some of the state is not in memory: wanted ids have to be read. */
  get partlyInState(): boolean {
    return this.#segments.some(({ complete }) => !complete)
  }

  /** Asks for an id before the batch is processed; `prefetch` then reads all that are missing at once. */
  want(bytes: Buffer, start: number, end: number, ingestionMs: number): void {
    const hash = this.#wanted.hashOf(bytes, start, end)
    for (const segment of this.#segments) {
      if (!this.#isInReach(segment, ingestionMs)) continue
      if (segment.complete || segment.timeOf(hash, bytes, start, end) !== undefined) {
        this.#budget.hits++
        continue
      }
      const { buffer, position } = this.#keyIn(segment, bytes, start, end)
      const keyHash = this.#wanted.hashOf(buffer, 0, position)
      if (this.#wanted.find(keyHash, buffer, 0, position) >= 0) continue
      this.#wanted.insert(keyHash, buffer, 0, position)
      this.#budget.misses++
    }
  }

  /** null: nothing to read. */
  prefetch(state: TaskState): Promise<void> | null {
    const wanted = this.#wanted
    this.#wanted = this.#fetched
    this.#wanted.clear()
    this.#fetched = wanted
    if (wanted.count === 0) return null
    this.#fetchedMs = new Float64Array(wanted.count).fill(NaN)
    const keys: Buffer[] = []
    for (let slot = 0; slot < wanted.count; slot++) {
      keys.push(wanted.keys.subarray(wanted.startOf(slot), wanted.endOf(slot)))
    }
    return state.readMany(keys).then((values) => {
      for (let i = 0; i < values.length; i++) {
        const value = values[i]
        if (value) this.#fetchedMs[i] = value.readDoubleLE(0)
      }
    })
  }

  /** True, and the id is kept, when no copy was taken in within the horizon of this one. */
  admit(bytes: Buffer, start: number, end: number, ingestionMs: number): boolean {
    const hash = this.#wanted.hashOf(bytes, start, end)
    for (const segment of this.#segments) {
      if (!this.#isInReach(segment, ingestionMs)) continue
      const kept = segment.timeOf(hash, bytes, start, end) ?? this.#fetchedOf(segment, bytes, start, end)
      if (Math.abs(kept - ingestionMs) <= this.#horizonMs) return false
    }
    // Not there: two ids of a segment, which is narrower than the horizon, are always within it.
    const segment = this.#segment(this.#segmentStart(ingestionMs))
    const before = segment.byteLength
    segment.add(hash, bytes, start, end, ingestionMs)
    this.#note(segment.byteLength - before)
    return true
  }

  /** Commit step 1: writes what is new as changelog records; what follows goes into the next buffer. */
  freeze(changelog: BatchBuilder, touched: SegmentTouched): void {
    for (const segment of this.#segments) {
      const row = changelog.count
      if (segment.writeNew(changelog) > 0) touched(segment.startMs, row)
    }
    this.#count()
  }

  /** Commit step 6. */
  release(): void {
    for (const segment of this.#segments) segment.release()
  }

  /** Drops the segments that no record ingested from `leastIngestionMs` on can match. */
  expire(leastIngestionMs: number): { prefixes: Buffer[]; segments: number[] } {
    const isOver = ({ startMs, isApplied }: SeenIds): boolean =>
      isApplied && startMs + this.#segmentMs + this.#horizonMs < leastIngestionMs
    const over = this.#segments.filter(isOver)
    if (over.length > 0) this.#segments = this.#segments.filter((segment) => !over.includes(segment))
    this.#count()
    return { prefixes: over.map(({ prefix }) => prefix), segments: over.map(({ startMs }) => startMs) }
  }

  /** Lets applied ids go, oldest first, until the budget is kept. Only between batches. */
  evict(): void {
    this.#count()
    const { excessBytes, maxBytes } = this.#budget
    if (excessBytes <= 0) return
    let toFree = excessBytes + maxBytes * SPARE_SHARE
    for (const segment of [...this.#segments].sort((a, b) => a.startMs - b.startMs)) {
      if (toFree <= 0) break
      const { appliedCount, byteLength } = segment
      if (appliedCount === 0) continue
      const share = Math.ceil((toFree / byteLength) * segment.ids.count)
      segment.forget(Math.min(appliedCount, share))
      toFree -= byteLength - segment.byteLength
    }
    this.#count()
  }

  /** The task goes: its share of the budget is free. */
  dispose(): void {
    this.#segments = []
    this.#count()
  }

  #isInReach({ startMs }: SeenIds, ingestionMs: number): boolean {
    return (
      startMs <= ingestionMs + this.#horizonMs && startMs + this.#segmentMs > ingestionMs - this.#horizonMs
    )
  }

  /** When the state has an id as kept; NaN where it does not, or was not asked. */
  #fetchedOf(segment: SeenIds, bytes: Buffer, start: number, end: number): number {
    if (segment.complete) return NaN
    const { buffer, position } = this.#keyIn(segment, bytes, start, end)
    const slot = this.#fetched.find(this.#fetched.hashOf(buffer, 0, position), buffer, 0, position)
    return slot < 0 ? NaN : this.#fetchedMs[slot]!
  }

  #keyIn({ prefix }: SeenIds, bytes: Buffer, start: number, end: number): ByteWriter {
    this.#key.position = 0
    writeKey(this.#key, prefix, bytes, start, end)
    return this.#key
  }

  #segmentStart(timeMs: number): number {
    return Math.floor(timeMs / this.#segmentMs) * this.#segmentMs
  }

  #segment(startMs: number): SeenIds {
    let segment = this.#segments.find((candidate) => candidate.startMs === startMs)
    if (segment === undefined) {
      segment = new SeenIds(startMs, segmentPrefix(this.id, startMs))
      this.#segments.push(segment)
      this.#note(segment.byteLength)
    }
    return segment
  }

  #count(): void {
    this.#note(this.#segments.reduce((total, { byteLength }) => total + byteLength, 0) - this.#countedBytes)
  }

  #note(moreBytes: number): void {
    this.#budget.usedBytes += moreBytes
    this.#countedBytes += moreBytes
  }
}
