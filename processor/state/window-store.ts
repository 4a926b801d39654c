import type { BatchBuilder } from '../../log/batch.ts'
import type { Accumulators, RowAggregate } from '../windows/row-aggregate.ts'
import type { CacheBudget } from './cache-budget.ts'
import type { SegmentTouched } from './dedupe-store.ts'
import { segmentPrefix, windowKey, windowPrefix, writeWindowKey, WINDOW_KEY_BYTES } from './keys.ts'
import type { TaskState } from './port.ts'

interface Entry {
  accumulators: Accumulators
  /** The commit that wrote, or will write, the entry's last change. */
  epoch: number
}

interface Window {
  readonly startMs: number
  readonly entries: Map<string, Entry>
  /** Everything in the state is in `entries` too. */
  complete: boolean
}

/** Bytes of an entry with a few accumulators, as measured on V8. */
const ENTRY_BYTES = 300

/** Accumulators by window and key, in segments of event time. */
export class WindowStore {
  readonly id: number
  readonly #sizeMs: number
  readonly #segmentMs: number
  readonly #aggregate: RowAggregate
  readonly #budget: CacheBudget
  readonly #windows = new Map<number, Window>()
  /** Segments with entries in the state. */
  readonly #segments = new Set<number>()
  /** Segments whose windows the state may hold without our having seen them: found when the task was opened. */
  readonly #unseen = new Set<number>()
  #evicted = false
  readonly #resident: boolean
  #epoch = 1
  #appliedEpoch = 0
  #dirty: { window: Window; key: string; entry: Entry }[] = []
  #wanted: { window: Window; key: string }[] = []

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
    return this.#unseen.size > 0 || this.#evicted
  }

  want(windowStartMs: number, key: string): void {
    const window = this.#window(windowStartMs)
    if (window.complete || window.entries.has(key)) this.#budget.hits++
    else this.#wanted.push({ window, key })
  }

  /** null: nothing to read. */
  prefetch(state: TaskState): Promise<void> | null {
    const wanted = this.#wanted
    if (wanted.length === 0) return null
    this.#wanted = []
    this.#budget.misses += wanted.length
    const keys = wanted.map(({ window, key }) =>
      windowKey(this.id, this.#segmentOf(window.startMs), window.startMs, key),
    )
    return state.readMany(keys).then((values) => {
      for (let i = 0; i < values.length; i++) {
        const { window, key } = wanted[i]!
        const value = values[i]
        // A key that is wanted twice in a batch is kept, and counted, once.
        if (value && !window.entries.has(key)) this.#keep(window, key, value)
      }
    })
  }

  /** The accumulators of a key, marked as changed; made where there are none. Needs `want` and `prefetch` before. */
  change(windowStartMs: number, key: string): Accumulators {
    const window = this.#window(windowStartMs)
    let entry = window.entries.get(key)
    if (entry === undefined) {
      entry = { accumulators: this.#aggregate.create(), epoch: 0 }
      window.entries.set(key, entry)
      this.#budget.usedBytes += ENTRY_BYTES + key.length
    }
    if (entry.epoch !== this.#epoch) {
      entry.epoch = this.#epoch
      this.#dirty.push({ window, key, entry })
    }
    return entry.accumulators
  }

  /** Puts another row of accumulators in a key's place (a partial replaces its task's previous one). */
  replace(windowStartMs: number, key: string, accumulators: Accumulators): void {
    this.change(windowStartMs, key)
    this.#window(windowStartMs).entries.get(key)!.accumulators = accumulators
  }

  /** What has changed since the last `freeze`, in no order. */
  forEachChange(visit: (windowStartMs: number, key: string, accumulators: Accumulators) => void): void {
    for (const { window, key, entry } of this.#dirty) visit(window.startMs, key, entry.accumulators)
  }

  /** The starts, in order, of the windows in [fromMs, untilMs) that may hold something. */
  startsBetween(fromMs: number, untilMs: number): number[] {
    const starts = new Set<number>()
    for (const [start, { entries, complete }] of this.#windows) {
      if (start >= fromMs && start < untilMs && (entries.size > 0 || !complete)) starts.add(start)
    }
    for (const segment of this.#unseen) {
      for (let start = segment; start < Math.min(untilMs, segment + this.#segmentMs); start += this.#sizeMs) {
        if (start >= fromMs) starts.add(start)
      }
    }
    return [...starts].sort((a, b) => a - b)
  }

  /** True where all of a window is in memory, so that `entriesOf` is whole. */
  isLoaded(windowStartMs: number): boolean {
    return this.#window(windowStartMs).complete
  }

  async load(windowStartMs: number, state: TaskState): Promise<void> {
    const window = this.#window(windowStartMs)
    const prefix = windowPrefix(this.id, this.#segmentOf(windowStartMs), windowStartMs)
    for await (const chunk of state.scan(prefix)) {
      for (const { key, value } of chunk) {
        const text = key.toString('utf8', WINDOW_KEY_BYTES)
        if (!window.entries.has(text)) this.#keep(window, text, value)
      }
    }
    window.complete = true
  }

  /** Reads all that the state holds, where the store is to be in memory whole. */
  async loadResident(state: TaskState): Promise<void> {
    if (!this.#resident) return
    for (const start of this.startsBetween(-Infinity, Infinity)) {
      if (!this.isLoaded(start)) await this.load(start, state)
    }
    this.#unseen.clear()
  }

  /** A loaded window's keys, in order, with their accumulators. */
  entriesOf(windowStartMs: number): [string, Accumulators][] {
    const { entries } = this.#window(windowStartMs)
    return [...entries.keys()].sort().map((key) => [key, entries.get(key)!.accumulators])
  }

  /**
   * Forgets the windows below `untilMs`, which are closed, and what of them is not yet written.
   * @returns the segments that are closed whole, as key prefixes to drop from the state
   */
  closeBelow(untilMs: number): { prefixes: Buffer[]; segments: number[] } {
    for (const [start, window] of this.#windows) {
      if (start >= untilMs) continue
      this.#windows.delete(start)
      for (const key of window.entries.keys()) this.#budget.usedBytes -= ENTRY_BYTES + key.length
      window.entries.clear()
    }
    this.#dirty = this.#dirty.filter(({ window }) => window.startMs >= untilMs)
    const closed = [...this.#segments].filter((segment) => segment + this.#segmentMs <= untilMs)
    for (const segment of closed) {
      this.#segments.delete(segment)
      this.#unseen.delete(segment)
    }
    return { prefixes: closed.map((segment) => segmentPrefix(this.id, segment)), segments: closed }
  }

  /** Commit step 1: writes every changed entry whole; what follows goes into the next buffer. */
  freeze(changelog: BatchBuilder, touched: SegmentTouched): void {
    for (const { window, key, entry } of this.#dirty) {
      const segment = this.#segmentOf(window.startMs)
      this.#segments.add(segment)
      touched(segment, changelog.count)
      changelog.beginKey()
      writeWindowKey(changelog.writer, this.id, segment, window.startMs, key)
      changelog.beginValue()
      this.#aggregate.write(changelog.writer, entry.accumulators)
      changelog.end()
    }
    this.#dirty = []
    this.#epoch++
  }

  /** Commit step 6: everything frozen is in the state now. */
  release(): void {
    this.#appliedEpoch = this.#epoch - 1
  }

  /** Lets applied entries go until the budget is kept. Only between batches. */
  evict(): void {
    if (this.#resident) return
    for (const window of this.#windows.values()) {
      for (const [key, entry] of window.entries) {
        if (this.#budget.excessBytes <= 0) return
        if (entry.epoch > this.#appliedEpoch) continue
        window.entries.delete(key)
        window.complete = false
        this.#evicted = true
        this.#budget.usedBytes -= ENTRY_BYTES + key.length
      }
    }
  }

  dispose(): void {
    for (const { entries } of this.#windows.values()) {
      for (const key of entries.keys()) this.#budget.usedBytes -= ENTRY_BYTES + key.length
    }
    this.#windows.clear()
  }

  #segmentOf(windowStartMs: number): number {
    return Math.floor(windowStartMs / this.#segmentMs) * this.#segmentMs
  }

  #window(startMs: number): Window {
    let window = this.#windows.get(startMs)
    if (window === undefined) {
      const complete = !this.#unseen.has(this.#segmentOf(startMs))
      window = { startMs, entries: new Map(), complete }
      this.#windows.set(startMs, window)
    }
    return window
  }

  #keep(window: Window, key: string, value: Buffer): void {
    const accumulators = this.#aggregate.read({ buffer: value, position: 0 })
    window.entries.set(key, { accumulators, epoch: 0 })
    this.#budget.usedBytes += ENTRY_BYTES + key.length
  }
}
