import type { BatchBuilder } from '../../log/batch.ts'
import type { CacheBudget } from './cache-budget.ts'
import { segmentKey, segmentPrefix, writeSegmentKey } from './keys.ts'
import type { TaskState } from './port.ts'

/** Told which row of the changelog batch is the first of a run of records of a segment. */
export type SegmentTouched = (segmentMs: number, row: number) => void

interface Segment {
  readonly startMs: number
  /** Ids with the ingestion time of the copy that was kept, oldest insertion first. */
  readonly ids: Map<string, number>
  /** Ids at the end of `ids` that are not yet applied to the state. */
  unapplied: number
  /** Everything in the state is in `ids` too: a miss needs no read. */
  complete: boolean
}

/** Bytes of a Map entry with a short string key and a double, as measured on V8. */
const ENTRY_BYTES = 140
const VALUE_BYTES = 8

/** New ids in columns, so that there is no object an id. */
class Additions {
  readonly segments: Segment[] = []
  readonly ids: string[] = []
  readonly timesMs: number[] = []

  add(segment: Segment, id: string, timeMs: number): void {
    this.segments.push(segment)
    this.ids.push(id)
    this.timesMs.push(timeMs)
  }

  clear(): void {
    this.segments.length = 0
    this.ids.length = 0
    this.timesMs.length = 0
  }
}

/** Which ids were seen, in segments of ingestion time (design §8, Dedupe). */
export class DedupeStore {
  readonly id: number
  readonly #horizonMs: number
  readonly #segmentMs: number
  readonly #budget: CacheBudget
  readonly #segments = new Map<number, Segment>()
  /** What the last prefetch found in the state: repetitions of ids that were evicted. */
  readonly #fetched = new Map<string, number>()
  /** Ids put since the last commit. */
  #dirty = new Additions()
  /** Those of the commit under way. */
  #closing = new Additions()
  #wanted: { segment: Segment; id: string }[] = []

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
    for (const { complete } of this.#segments.values()) if (!complete) return true
    return false
  }

  /** Asks for an id before the batch is processed; `prefetch` then reads all that are missing at once. */
  want(id: string, ingestionMs: number): void {
    const last = this.#segmentStart(ingestionMs + this.#horizonMs)
    for (
      let start = this.#segmentStart(ingestionMs - this.#horizonMs);
      start <= last;
      start += this.#segmentMs
    ) {
      const segment = this.#segments.get(start)
      if (segment === undefined) continue
      if (segment.complete || segment.ids.has(id)) this.#budget.hits++
      else this.#wanted.push({ segment, id })
    }
  }

  /** null: nothing to read. */
  prefetch(state: TaskState): Promise<void> | null {
    this.#fetched.clear()
    const wanted = this.#wanted
    if (wanted.length === 0) return null
    this.#wanted = []
    this.#budget.misses += wanted.length
    const keys = wanted.map(({ segment, id }) => segmentKey(this.id, segment.startMs, id))
    return state.readMany(keys).then((values) => {
      for (let i = 0; i < values.length; i++) {
        const value = values[i]
        if (value) this.#fetched.set(fetchedKey(wanted[i]!.segment, wanted[i]!.id), value.readDoubleLE(0))
      }
    })
  }

  /** True, and the id is kept, when no copy was taken in within the horizon of this one. */
  admit(id: string, ingestionMs: number): boolean {
    const last = this.#segmentStart(ingestionMs + this.#horizonMs)
    for (
      let start = this.#segmentStart(ingestionMs - this.#horizonMs);
      start <= last;
      start += this.#segmentMs
    ) {
      const segment = this.#segments.get(start)
      if (segment === undefined) continue
      const kept =
        segment.ids.get(id) ?? (segment.complete ? undefined : this.#fetched.get(fetchedKey(segment, id)))
      if (kept !== undefined && Math.abs(kept - ingestionMs) <= this.#horizonMs) return false
    }
    const segment = this.#segment(this.#segmentStart(ingestionMs))
    if (!segment.ids.has(id)) this.#budget.usedBytes += ENTRY_BYTES + id.length
    segment.ids.set(id, ingestionMs)
    segment.unapplied++
    this.#dirty.add(segment, id, ingestionMs)
    return true
  }

  /** Commit step 1: writes what is new as changelog records; what follows goes into the next buffer. */
  freeze(changelog: BatchBuilder, touched: SegmentTouched): void {
    const { writer } = changelog
    const { segments, ids, timesMs } = this.#dirty
    for (let i = 0; i < ids.length; i++) {
      const segment = segments[i]!
      if (segment !== segments[i - 1]) touched(segment.startMs, changelog.count)
      changelog.beginKey()
      writeSegmentKey(writer, this.id, segment.startMs, ids[i]!)
      changelog.beginValue()
      writer.ensure(VALUE_BYTES)
      writer.position = writer.buffer.writeDoubleLE(timesMs[i]!, writer.position)
      changelog.end()
    }
    const applied = this.#closing
    this.#closing = this.#dirty
    this.#dirty = applied
  }

  /** Commit step 6. */
  release(): void {
    for (const segment of this.#closing.segments) segment.unapplied--
    this.#closing.clear()
  }

  /** Drops the segments that no record ingested from `leastIngestionMs` on can match. */
  expire(leastIngestionMs: number): { prefixes: Buffer[]; segments: number[] } {
    const dropped = { prefixes: [] as Buffer[], segments: [] as number[] }
    for (const [startMs, segment] of this.#segments) {
      if (startMs + this.#segmentMs + this.#horizonMs >= leastIngestionMs || segment.unapplied > 0) continue
      this.#segments.delete(startMs)
      for (const id of segment.ids.keys()) this.#budget.usedBytes -= ENTRY_BYTES + id.length
      dropped.prefixes.push(segmentPrefix(this.id, startMs))
      dropped.segments.push(startMs)
    }
    return dropped
  }

  /** Lets applied ids go, oldest first, until the budget is kept. Only between batches. */
  evict(): void {
    for (const segment of this.#segments.values()) {
      let spare = segment.ids.size - segment.unapplied
      for (const id of segment.ids.keys()) {
        if (this.#budget.excessBytes <= 0) return
        if (spare-- <= 0) break
        segment.ids.delete(id)
        segment.complete = false
        this.#budget.usedBytes -= ENTRY_BYTES + id.length
      }
    }
  }

  /** The task goes: its share of the budget is free. */
  dispose(): void {
    for (const { ids } of this.#segments.values()) {
      for (const id of ids.keys()) this.#budget.usedBytes -= ENTRY_BYTES + id.length
    }
    this.#segments.clear()
  }

  #segmentStart(timeMs: number): number {
    return Math.floor(timeMs / this.#segmentMs) * this.#segmentMs
  }

  #segment(startMs: number): Segment {
    let segment = this.#segments.get(startMs)
    if (segment === undefined) {
      segment = { startMs, ids: new Map(), unapplied: 0, complete: true }
      this.#segments.set(startMs, segment)
    }
    return segment
  }
}

function fetchedKey(segment: { startMs: number }, id: string): string {
  return `${segment.startMs} ${id}`
}
