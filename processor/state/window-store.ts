import type { BatchBuilder } from '../../log/batch.ts'
import { ByteWriter } from '../../log/batch.ts'
import type { RowAggregate } from '../windows/row-aggregate.ts'
import type { CacheBudget } from './cache-budget.ts'
import type { SegmentTouched } from './dedupe-store.ts'
import { KeyTable } from './key-table.ts'
import { segmentPrefix, windowPrefix, windowStartOfKey, writeKey, WINDOW_KEY_BYTES } from './keys.ts'
import type { TaskState } from './port.ts'
import { AGES, WindowEntries } from './window-entries.ts'

/** What is let go at once beyond the excess, as a share of the budget: making a window anew costs. */
const SPARE_SHARE = 1 / 8

/** Accumulators by window and key, in segments of event time. */
export class WindowStore {
  readonly id: number
  readonly #sizeMs: number
  readonly #segmentMs: number
  readonly #aggregate: RowAggregate
  readonly #budget: CacheBudget
  readonly #windows = new Map<number, WindowEntries>()
  /** Most records are of the window of the one before. */
  #last: WindowEntries | null = null
  /** Segments with entries in the state. */
  readonly #segments = new Set<number>()
  /** Segments whose windows the state may hold without our having seen them: found when the task was opened. */
  readonly #unseen = new Set<number>()
  readonly #resident: boolean
  #epoch = 1
  #appliedEpoch = 0
  /** Keys to read, as the state has them. */
  #wanted = new KeyTable()
  /** Those that are being read. */
  #reading = new KeyTable()
  readonly #key = new ByteWriter(64)

  constructor(
    id: number,
    options: {
      sizeMs: number
      segmentMs: number
      aggregate: RowAggregate
      budget: CacheBudget
      /**
       * Never evicted, and read whole by `loadResident`: for one entry a window, which results of
       * other windows and late records change without any look-ahead. Default false.
       */
      resident?: boolean
    },
  ) {
    this.id = id
    this.#resident = options.resident ?? false
    this.#sizeMs = options.sizeMs
    this.#segmentMs = options.segmentMs
    this.#aggregate = options.aggregate
    this.#budget = options.budget
  }

  /** The segments that the state holds already, as the task record lists them. */
  restore(segments: Iterable<number>): void {
    for (const startMs of segments) {
      this.#segments.add(startMs)
      this.#unseen.add(startMs)
    }
  }

  /** True where some of the state is not in memory: wanted keys have to be read. */
  get partlyInState(): boolean {
    if (this.#unseen.size > 0) return true
    for (const { complete } of this.#windows.values()) if (!complete) return true
    return false
  }

  /** Asks for a key before the batch is processed; `prefetch` then reads all that are missing at once. */
  want(windowStartMs: number, bytes: Buffer, start: number, end: number): void {
    const window = this.window(windowStartMs)
    if (window.complete || window.has(bytes, start, end)) {
      this.#budget.hits++
      return
    }
    const key = this.#key
    key.position = 0
    writeKey(key, window.prefix, bytes, start, end)
    const hash = this.#wanted.hashOf(key.buffer, 0, key.position)
    if (this.#wanted.find(hash, key.buffer, 0, key.position) >= 0) return
    this.#wanted.insert(hash, key.buffer, 0, key.position)
    this.#budget.misses++
  }

  /** null: nothing to read. */
  prefetch(state: TaskState): Promise<void> | null {
    if (this.#wanted.count === 0) return null
    const wanted = this.#wanted
    this.#wanted = this.#reading
    this.#wanted.clear()
    this.#reading = wanted
    const keys: Buffer[] = []
    for (let slot = 0; slot < wanted.count; slot++) {
      keys.push(wanted.keys.subarray(wanted.startOf(slot), wanted.endOf(slot)))
    }
    return state.readMany(keys).then((values) => {
      for (let i = 0; i < values.length; i++) {
        const key = keys[i]!
        const value = values[i]
        if (value) this.window(windowStartOfKey(key)).take(key, WINDOW_KEY_BYTES, key.length, value)
      }
    })
  }

  /** The number of the commit that will write what changes now. */
  get epoch(): number {
    return this.#epoch
  }

  /** A window, made where there is none. Changes need `want` and `prefetch` before. */
  window(startMs: number): WindowEntries {
    if (this.#last !== null && this.#last.startMs === startMs) return this.#last
    let window = this.#windows.get(startMs)
    if (window === undefined) {
      const segment = this.#segmentOf(startMs)
      window = new WindowEntries(startMs, {
        prefix: windowPrefix(this.id, segment, startMs),
        complete: !this.#unseen.has(segment),
        aggregate: this.#aggregate,
        budget: this.#budget,
      })
      this.#windows.set(startMs, window)
    }
    this.#last = window
    return window
  }

  /** The windows with what has changed since the last `freeze`, in no order. */
  *changedWindows(): Iterable<WindowEntries> {
    for (const window of this.#windows.values()) {
      if (window.changedCount === 0) continue
      window.orderChanges(this.#epoch)
      yield window
    }
  }

  /** The starts, in order, of the windows in [fromMs, untilMs) that may hold something. */
  startsBetween(fromMs: number, untilMs: number): number[] {
    const starts = new Set<number>()
    for (const [start, { keys, complete }] of this.#windows) {
      if (start >= fromMs && start < untilMs && (keys.count > 0 || !complete)) starts.add(start)
    }
    for (const segment of this.#unseen) {
      for (let start = segment; start < Math.min(untilMs, segment + this.#segmentMs); start += this.#sizeMs) {
        if (start >= fromMs) starts.add(start)
      }
    }
    return [...starts].sort((a, b) => a - b)
  }

  /** Brings all of a window into memory. */
  async load(window: WindowEntries, state: TaskState): Promise<void> {
    for await (const chunk of state.scan(window.prefix)) {
      for (const { key, value } of chunk) window.take(key, WINDOW_KEY_BYTES, key.length, value)
    }
    window.complete = true
  }

  /** Reads all that the state holds, where the store is to be in memory whole. */
  async loadResident(state: TaskState): Promise<void> {
    if (!this.#resident) return
    for (const start of this.startsBetween(-Infinity, Infinity)) {
      const window = this.window(start)
      if (!window.complete) await this.load(window, state)
    }
    this.#unseen.clear()
  }

  /**
   * Forgets the windows below `untilMs`, which are closed, and what of them is not yet written.
   * @returns the segments that are closed whole, as key prefixes to drop from the state
   */
  closeBelow(untilMs: number): { prefixes: Buffer[]; segments: number[] } {
    for (const [start, window] of this.#windows) {
      if (start >= untilMs) continue
      this.#windows.delete(start)
      window.dispose()
    }
    this.#last = null
    const closed = [...this.#segments].filter((segment) => segment + this.#segmentMs <= untilMs)
    for (const segment of closed) {
      this.#segments.delete(segment)
      this.#unseen.delete(segment)
    }
    return { prefixes: closed.map((segment) => segmentPrefix(this.id, segment)), segments: closed }
  }

  /** Commit step 1: writes every changed entry whole; what follows goes into the next buffer. */
  freeze(changelog: BatchBuilder, touched: SegmentTouched): void {
    for (const window of this.changedWindows()) {
      const segment = this.#segmentOf(window.startMs)
      this.#segments.add(segment)
      touched(segment, changelog.count)
      window.writeChanges(changelog)
    }
    this.#epoch++
  }

  /** Commit step 6: everything frozen is in the state now. */
  release(): void {
    this.#appliedEpoch = this.#epoch - 1
  }

  /** Lets applied entries go, the longest unchanged first, until the budget is kept. Only between batches. */
  evict(): void {
    if (this.#resident) return
    const { excessBytes, maxBytes } = this.#budget
    if (excessBytes <= 0) return
    const windows = [...this.#windows.values()]
    const entries = windows.reduce((total, { keys }) => total + keys.count, 0)
    if (entries === 0) return
    const ages = new Int32Array(AGES)
    for (const window of windows) window.countAges(ages, this.#appliedEpoch)
    const bytes = windows.reduce((total, { byteLength }) => total + byteLength, 0)
    let toForget = Math.ceil(((excessBytes + maxBytes * SPARE_SHARE) / bytes) * entries)
    let age = AGES - 1
    for (; age > 0 && toForget > ages[age]!; age--) toForget -= ages[age]!
    for (const window of windows) toForget -= window.forget(age, toForget, this.#appliedEpoch)
  }

  dispose(): void {
    for (const window of this.#windows.values()) window.dispose()
    this.#windows.clear()
    this.#last = null
  }

  #segmentOf(windowStartMs: number): number {
    return Math.floor(windowStartMs / this.#segmentMs) * this.#segmentMs
  }
}
