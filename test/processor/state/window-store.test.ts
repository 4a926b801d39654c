import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import { CacheBudget } from '../../../processor/state/cache-budget.ts'
import { MemoryState } from '../../../processor/state/memory/memory-state.ts'
import type { TaskState } from '../../../processor/state/port.ts'
import type { WindowEntries } from '../../../processor/state/window-entries.ts'
import { WindowStore } from '../../../processor/state/window-store.ts'
import { count, sum } from '../../../processor/windows/aggregates.ts'
import { first, last } from '../../../processor/windows/first-last.ts'
import { reduce } from '../../../processor/windows/reduce.ts'
import { RowAggregate } from '../../../processor/windows/row-aggregate.ts'
import { double, string } from '../../../schemas/schema.ts'

const SIZE_MS = 10
const SEGMENT_MS = 20

interface Added {
  readonly window: number
  readonly key: string
  readonly amount: number
  readonly atMs: number
}

type Step =
  | { readonly kind: 'batch'; readonly records: readonly Added[] }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'apply' }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'close' }

const added = fc.record({
  window: fc.nat(5),
  key: fc.oneof(
    fc.nat(30).map((n) => `key-${n}`),
    fc.constantFrom('', 'é', '日本'),
  ),
  amount: fc.integer({ min: -1000, max: 1000 }).map((cents) => cents / 100),
  atMs: fc.nat(3),
})

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.array(added, { maxLength: 30 }).map((records) => ({ kind: 'batch' as const, records })),
    },
    { weight: 2, arbitrary: fc.constant({ kind: 'freeze' as const }) },
    { weight: 3, arbitrary: fc.constant({ kind: 'apply' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'close' as const }) },
  ),
  { maxLength: 40 },
)

interface Totals {
  records: number
  cents: number
  /** Where the first and the last stand, and what they are. */
  first: [atMs: number, offset: number, amount: number]
  last: [atMs: number, offset: number, amount: number]
  greatest: number
}

/** A store with its state and changelog, as a task has them, beside plain maps. */
class Run {
  readonly budget: CacheBudget
  readonly #aggregate = new RowAggregate({
    records: count(),
    total: sum((a: Added) => a.amount),
    first: first((a: Added) => a.amount, double()),
    last: last((a: Added) => String(a.amount), string()),
    greatest: reduce((a: Added) => a.amount, Math.max, double()),
  })
  readonly #changelog = new BatchBuilder('windows', 0)
  readonly #segments = new Set<number>()
  #state: TaskState | null = null
  #store: WindowStore
  #frozen = false
  #applied = 0
  #offset = 0
  #closedBelow = 0
  /** By window and key. */
  #model = new Map<number, Map<string, Totals>>()
  #committed = new Map<number, Map<string, Totals>>()

  constructor(cacheBytes: number) {
    this.budget = new CacheBudget(cacheBytes)
    this.#store = this.#newStore()
  }

  async do(step: Step): Promise<void> {
    this.#state ??= await this.#takeOver()
    if (step.kind === 'batch') await this.#process(step.records)
    else if (step.kind === 'freeze') this.#freeze()
    else if (step.kind === 'apply') await this.#apply()
    else if (step.kind === 'reopen') this.#reopen()
    else await this.#close()
  }

  /** All that is there is what it should be, and nothing is counted when the store has gone. */
  async end(): Promise<void> {
    if (this.#state !== null) {
      for (let window = this.#closedBelow; window < 6; window++) await this.#check(window)
    }
    this.#store.dispose()
    assert.equal(this.budget.usedBytes, 0)
  }

  async #process(records: readonly Added[]): Promise<void> {
    if (this.budget.excessBytes > 0) this.#store.evict()
    const open = records.filter(({ window }) => window >= this.#closedBelow)
    if (this.#store.partlyInState) {
      for (const { window, key } of open) {
        const bytes = Buffer.from(key)
        this.#store.want(window * SIZE_MS, bytes, 0, bytes.length)
      }
      await this.#store.prefetch(this.#state!)
    }
    for (const record of open) {
      this.#aggregate.extract(record)
      const bytes = Buffer.from(`<${record.key}>`)
      const window = this.#store.window(record.window * SIZE_MS)
      const row = window.change(bytes, 1, bytes.length - 1, this.#store.epoch)
      const offset = this.#offset++
      const place = { eventTimeMs: record.atMs, origin: 0, offset, ordinal: 0 }
      this.#aggregate.prepare(window.cells, row, place)
      this.#aggregate.add(window.cells, row, place)
      const totals = totalsOf(this.#model, record.window, record.key)
      totals.records++
      totals.cents += Math.round(record.amount * 100)
      if (record.atMs < totals.first[0]) totals.first = [record.atMs, offset, record.amount]
      if (record.atMs >= totals.last[0]) totals.last = [record.atMs, offset, record.amount]
      totals.greatest = Math.max(totals.greatest, record.amount)
    }
  }

  #freeze(): void {
    if (this.#frozen) return
    this.#store.freeze(this.#changelog, (segment) => this.#segments.add(segment))
    this.#frozen = true
    this.#committed = structuredClone(this.#model)
  }

  async #apply(): Promise<void> {
    if (!this.#frozen) return
    await this.#write([this.#changelog], [])
    this.#changelog.clear()
    this.#store.release()
    this.#frozen = false
  }

  /** What was not frozen is lost, as after a crash. */
  #reopen(): void {
    if (this.#frozen) return
    this.#store.dispose()
    assert.equal(this.budget.usedBytes, 0)
    this.#store = this.#newStore()
    this.#store.restore(this.#segments)
    this.#model = structuredClone(this.#committed)
  }

  async #close(): Promise<void> {
    if (this.#frozen) return
    await this.#check(this.#closedBelow)
    this.#closedBelow++
    const { prefixes, segments } = this.#store.closeBelow(this.#closedBelow * SIZE_MS)
    for (const segment of segments) this.#segments.delete(segment)
    await this.#write([], prefixes)
    for (const windows of [this.#model, this.#committed]) windows.delete(this.#closedBelow - 1)
  }

  async #check(number: number): Promise<void> {
    const window = this.#store.window(number * SIZE_MS)
    if (!window.complete) await this.#store.load(window, this.#state!)
    const expected = [...(this.#model.get(number) ?? [])]
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([key, totals]) => {
        const { records, cents, first: earliest, last: latest, greatest } = totals
        return [key, records, cents, earliest[2], String(latest[2]), greatest]
      })
    assert.deepEqual(this.#entriesOf(window), expected)
  }

  #entriesOf(window: WindowEntries): unknown[] {
    const { keys, cells } = window
    return Array.from(window.sortedSlots(), (slot) => {
      const results: unknown[] = []
      this.#aggregate.results(cells, window.rowOf(slot), results, 0)
      const key = keys.keys.toString('utf8', keys.startOf(slot), keys.endOf(slot))
      return [key, results[0], Math.round((results[1] as number) * 100) + 0, ...results.slice(2)]
    })
  }

  async #write(records: readonly BatchBuilder[], dropPrefixes: readonly Buffer[]): Promise<void> {
    const base = { changelog: 0, windows: this.#applied }
    const end = { changelog: 0, windows: ++this.#applied }
    await this.#state!.apply({ records, dropPrefixes, taskRecord: null, base, end, timeMs: 0 })
  }

  #newStore(): WindowStore {
    const { budget } = this
    const aggregate = this.#aggregate
    return new WindowStore(7, { sizeMs: SIZE_MS, segmentMs: SEGMENT_MS, aggregate, budget })
  }

  async #takeOver(): Promise<TaskState> {
    const owner = { clusterId: 'c', topicId: 't', token: 1 }
    const state = await new MemoryState().takeOver('task', owner)
    await state.newIncarnation(0)
    return state
  }
}

function newTotals(): Totals {
  return { records: 0, cents: 0, first: [Infinity, 0, 0], last: [-Infinity, 0, 0], greatest: -Infinity }
}

function totalsOf(windows: Map<number, Map<string, Totals>>, window: number, key: string): Totals {
  let keys = windows.get(window)
  if (keys === undefined) windows.set(window, (keys = new Map<string, Totals>()))
  let totals = keys.get(key)
  if (totals === undefined) keys.set(key, (totals = newTotals()))
  return totals
}

describe('a store of windows', () => {
  for (const [name, cacheBytes] of Object.entries({
    'all in memory': 2 ** 30,
    'little in memory': 9_000,
    'nothing in memory that is applied': 1,
  })) {
    it(`holds what was folded into it, through commits, evictions, reopening and closing, with ${name}`, async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (todo) => {
          const run = new Run(cacheBytes)
          for (const step of todo) await run.do(step)
          await run.end()
        }),
        { numRuns: testScale.propertyRuns },
      )
    })
  }

  it('keeps its budget, and lets go first what has not changed for longest', async () => {
    const budget = new CacheBudget(200_000)
    const aggregate = new RowAggregate({ records: count() })
    const store = new WindowStore(7, { sizeMs: SIZE_MS, segmentMs: SEGMENT_MS, aggregate, budget })
    const changelog = new BatchBuilder('windows', 0)
    const change = (key: string): void => {
      const bytes = Buffer.from(key)
      store.window(0).change(bytes, 0, bytes.length, store.epoch)
    }
    const has = (key: string): boolean => store.window(0).has(Buffer.from(key), 0, key.length)
    for (let commit = 0; commit < 20; commit++) {
      change('always')
      for (let i = 0; i < 1_000; i++) change(`${commit}-${i}`)
      store.freeze(changelog, () => undefined)
      changelog.clear()
      store.release()
      store.evict()
      assert.ok(budget.excessBytes <= 0, `${budget.usedBytes} bytes after commit ${commit}`)
      assert.ok(has('always') && has(`${commit}-999`), `commit ${commit}`)
    }
    assert.equal(has('0-0'), false)
    assert.ok(store.partlyInState)
  })

  it('takes less than a hundred bytes a key, of which it counts every one', () => {
    const budget = new CacheBudget(2 ** 30)
    const aggregate = new RowAggregate({ records: count(), total: sum(() => 1) })
    const store = new WindowStore(7, { sizeMs: SIZE_MS, segmentMs: SEGMENT_MS, aggregate, budget })
    for (let i = 0; i < 100_000; i++) {
      const bytes = Buffer.from(`key-${i}`)
      store.window(0).change(bytes, 0, bytes.length, store.epoch)
    }
    const { keys, cells, changed } = store.window(0)
    assert.ok(budget.usedBytes >= keys.byteLength + cells.byteLength + changed.byteLength)
    assert.ok(budget.usedBytes < 100 * 100_000, `${budget.usedBytes} bytes`)
  })
})
