import assert from 'node:assert/strict'
import fc from 'fast-check'
import { testScale } from '../../../config/test-scale.ts'
import { BatchBuilder } from '../../../log/batch.ts'
import { CacheBudget } from '../../../processor/state/cache-budget.ts'
import { DedupeStore } from '../../../processor/state/dedupe-store.ts'
import { MemoryState } from '../../../processor/state/memory/memory-state.ts'
import type { TaskState } from '../../../processor/state/port.ts'

const HORIZON_MS = 40
const SEGMENT_MS = 10

interface Copy {
  readonly id: string
  /** Since the greatest ingestion time so far. */
  readonly afterMs: number
}

type Step =
  | { readonly kind: 'batch'; readonly copies: readonly Copy[] }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'apply' }
  | { readonly kind: 'reopen' }

const copy = fc.record({
  id: fc.oneof(
    fc.nat(40).map((n) => `order-${n}`),
    fc.constantFrom('', 'é'),
  ),
  // Behind a repartition, ingestion times come in no order.
  afterMs: fc.integer({ min: -15, max: 12 }),
})

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.array(copy, { maxLength: 30 }).map((copies) => ({ kind: 'batch' as const, copies })),
    },
    { weight: 2, arbitrary: fc.constant({ kind: 'freeze' as const }) },
    { weight: 3, arbitrary: fc.constant({ kind: 'apply' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
  ),
  { maxLength: 40 },
)

/** A store with its state and changelog, as a task has them, beside a list of what was kept. */
class Run {
  readonly budget: CacheBudget
  readonly #changelog = new BatchBuilder('windows', 0)
  readonly #segments = new Set<number>()
  #state: TaskState | null = null
  #store: DedupeStore
  #isFrozen = false
  #applied = 0
  #nowMs = 1_000
  #kept: { id: string; atMs: number }[] = []
  #committed: { id: string; atMs: number }[] = []
  #committedMs = this.#nowMs

  constructor(cacheBytes: number) {
    this.budget = new CacheBudget(cacheBytes)
    this.#store = this.#newStore()
  }

  async do(step: Step): Promise<void> {
    this.#state ??= await takeOver()
    if (step.kind === 'batch') await this.#process(step.copies)
    else if (step.kind === 'freeze') this.#freeze()
    else if (step.kind === 'apply') await this.#apply()
    else this.#reopen()
  }

  end(): void {
    this.#store.dispose()
    assert.equal(this.budget.usedBytes, 0)
  }

  async #process(copies: readonly Copy[]): Promise<void> {
    if (this.budget.excessBytes > 0) this.#store.evict()
    let latestMs = this.#nowMs
    const timed = copies.map(({ id, afterMs }) => {
      const atMs = this.#nowMs + afterMs
      latestMs = Math.max(latestMs, atMs)
      return { id, atMs, bytes: Buffer.from(`<${id}>`) }
    })
    if (this.#store.partlyInState) {
      for (const { bytes, atMs } of timed) this.#store.want(bytes, 1, bytes.length - 1, atMs)
      await this.#store.prefetch(this.#state!)
    }
    for (const { id, atMs, bytes } of timed) {
      const isNew = !this.#kept.some((kept) => kept.id === id && Math.abs(kept.atMs - atMs) <= HORIZON_MS)
      assert.equal(this.#store.admit(bytes, 1, bytes.length - 1, atMs), isNew, `${id} at ${atMs}`)
      if (isNew) this.#kept.push({ id, atMs })
    }
    this.#nowMs = latestMs
  }

  #freeze(): void {
    if (this.#isFrozen) return
    // Nothing is ingested more than 15 ms before the latest.
    const { segments, prefixes } = this.#store.expire(this.#nowMs - 15)
    for (const segment of segments) this.#segments.delete(segment)
    assert.equal(prefixes.length, segments.length)
    this.#store.freeze(this.#changelog, (segment) => this.#segments.add(segment))
    this.#isFrozen = true
    this.#committed = [...this.#kept]
    this.#committedMs = this.#nowMs
  }

  async #apply(): Promise<void> {
    if (!this.#isFrozen) return
    const base = { changelog: 0, windows: this.#applied }
    const end = { changelog: 0, windows: ++this.#applied }
    const records = [this.#changelog]
    await this.#state!.apply({ records, dropPrefixes: [], taskRecord: null, base, end, timeMs: 0 })
    this.#changelog.clear()
    this.#store.release()
    this.#isFrozen = false
  }

  /** What was not frozen is lost, as after a crash. */
  #reopen(): void {
    if (this.#isFrozen) return
    this.#store.dispose()
    this.#store = this.#newStore()
    this.#store.restore(this.#segments)
    this.#kept = [...this.#committed]
    this.#nowMs = this.#committedMs
  }

  #newStore(): DedupeStore {
    return new DedupeStore(7, { horizonMs: HORIZON_MS, segmentMs: SEGMENT_MS, budget: this.budget })
  }
}

async function takeOver(): Promise<TaskState> {
  const state = await new MemoryState().takeOver('task', { clusterId: 'c', topicId: 't', token: 1 })
  await state.newIncarnation(0)
  return state
}

describe('a store of ids', () => {
  for (const [name, cacheBytes] of Object.entries({
    'all in memory': 2 ** 30,
    'little in memory': 6_000,
    'nothing in memory that is applied': 1,
  })) {
    it(`admits an id once within the horizon, through commits, evictions, expiry and reopening, with ${name}`, async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (todo) => {
          const run = new Run(cacheBytes)
          for (const step of todo) await run.do(step)
          run.end()
        }),
        { numRuns: testScale.propertyRuns },
      )
    })
  }

  it('takes less than a hundred bytes an id, of which it counts every one', () => {
    const budget = new CacheBudget(2 ** 30)
    const store = new DedupeStore(7, { horizonMs: 86_400_000, segmentMs: 21_600_000, budget })
    const started = budget.usedBytes
    for (let i = 0; i < 100_000; i++) {
      const bytes = Buffer.from(`order-${i}:confirmed`)
      assert.ok(store.admit(bytes, 0, bytes.length, i))
    }
    assert.ok(budget.usedBytes - started < 100 * 100_000, `${budget.usedBytes} bytes`)
    assert.ok(budget.usedBytes - started > 30 * 100_000, `${budget.usedBytes} bytes`)
  })
})
