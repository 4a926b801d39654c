import type { BatchBuilder } from '../../log/batch.ts'
import type { RowAggregate } from '../windows/row-aggregate.ts'
import { Cells } from '../windows/cells.ts'
import type { CacheBudget } from './cache-budget.ts'
import { grown, grownCapacity, KeyTable } from './key-table.ts'
import { writeKey } from './keys.ts'

/** Bytes of a window that holds nothing, as measured on V8. */
const WINDOW_BYTES = 1_000
/** From one in so many on, looking at all slots costs less than going back and forth. */
const DENSE = 8
/** Ages of entries, in commits, that eviction tells apart. */
export const AGES = 64

/**
 * What one window holds in memory: keys with their accumulators, in columns. A key's slot names it until the next
 * {@link keep}; its row of cells begins with the commit of its last change.
 */
export class WindowEntries {
  readonly startMs: number
  /** What the keys in the state begin with. */
  readonly prefix: Buffer
  /** Everything in the state is here too. */
  complete: boolean
  readonly keys = new KeyTable()
  readonly cells = new Cells(0)
  /** Slots that have changed since the last commit; the first `changedCount` are in use. */
  changed = new Int32Array(0)
  changedCount = 0
  readonly #aggregate: RowAggregate
  readonly #stride: number
  readonly #budget: CacheBudget
  #countedBytes = 0

  constructor(
    startMs: number,
    options: { prefix: Buffer; complete: boolean; aggregate: RowAggregate; budget: CacheBudget },
  ) {
    this.startMs = startMs
    this.prefix = options.prefix
    this.complete = options.complete
    this.#aggregate = options.aggregate
    this.#stride = 1 + options.aggregate.width
    this.#budget = options.budget
    this.#count()
  }

  /** Of all that it takes, in use or not. */
  get byteLength(): number {
    return WINDOW_BYTES + this.keys.byteLength + this.cells.byteLength + this.changed.byteLength
  }

  /** Where a slot's accumulators begin in `cells`. */
  rowOf(slot: number): number {
    return slot * this.#stride + 1
  }

  has(bytes: Uint8Array, start: number, end: number): boolean {
    return this.keys.find(this.keys.hashOf(bytes, start, end), bytes, start, end) >= 0
  }

  /**
   * The row of a key, made where there is none, noted as changed.
   * @param epoch the number of the commit that will write it
   */
  change(bytes: Uint8Array, start: number, end: number, epoch: number): number {
    const { keys, cells } = this
    const hash = keys.hashOf(bytes, start, end)
    let slot = keys.find(hash, bytes, start, end)
    if (slot < 0) slot = this.#insert(hash, bytes, start, end)
    const row = slot * this.#stride + 1
    if (cells.numbers[row - 1] !== epoch) {
      cells.numbers[row - 1] = epoch
      this.#noteChange(slot)
    }
    return row
  }

  /** Takes in an entry of the state, unless it is here, and maybe newer. */
  take(bytes: Buffer, start: number, end: number, value: Buffer): void {
    const hash = this.keys.hashOf(bytes, start, end)
    if (this.keys.find(hash, bytes, start, end) >= 0) return
    const slot = this.#insert(hash, bytes, start, end)
    this.#aggregate.read({ buffer: value, position: 0 }, this.cells, this.rowOf(slot))
  }

  /**
   * Brings what has changed into the slots' order where that is a good part of all: whoever walks over it then
   * walks over memory in order.
   */
  orderChanges(epoch: number): void {
    if (this.changedCount * DENSE < this.keys.count) return
    const { numbers } = this.cells
    let ordered = 0
    for (let slot = 0; slot < this.keys.count; slot++) {
      if (numbers[slot * this.#stride] === epoch) this.changed[ordered++] = slot
    }
  }

  /** All slots, in the order of their keys' bytes. */
  sortedSlots(): Int32Array {
    return allSlots(this.keys.count).sort((a, b) => this.keys.compare(a, b))
  }

  /** Writes every changed entry whole. */
  writeChanges(changelog: BatchBuilder): void {
    const { keys, cells, changed, prefix } = this
    const { writer } = changelog
    for (let i = 0; i < this.changedCount; i++) {
      const slot = changed[i]!
      changelog.beginKey()
      writeKey(writer, prefix, keys.keys, keys.startOf(slot), keys.endOf(slot))
      changelog.beginValue()
      this.#aggregate.write(writer, cells, this.rowOf(slot))
      changelog.end()
    }
    this.changedCount = 0
    this.#count()
  }

  /** Counts the applied entries by their age; `ages` has {@link AGES}. */
  countAges(ages: Int32Array, appliedEpoch: number): void {
    for (let slot = 0; slot < this.keys.count; slot++) {
      const age = this.#ageOf(slot, appliedEpoch)
      if (age >= 0) ages[age]!++
    }
  }

  /**
   * Lets applied entries go: those of a greater age, and of this one at most so many.
   * @returns how many of this age went
   */
  forget(age: number, most: number, appliedEpoch: number): number {
    let gone = 0
    const kept = allSlots(this.keys.count).filter((slot) => {
      const its = this.#ageOf(slot, appliedEpoch)
      if (its !== age) return its < age
      return gone >= most || gone++ < 0
    })
    if (kept.length < this.keys.count) {
      this.complete = false
      this.#keep(kept)
    }
    return gone
  }

  /** The window goes: what it took is free. */
  dispose(): void {
    this.#budget.usedBytes -= this.#countedBytes
    this.#countedBytes = 0
  }

  /** Commits since the last change, as far as they are told apart; negative: it is not applied yet. */
  #ageOf(slot: number, appliedEpoch: number): number {
    return Math.min(appliedEpoch - this.cells.numbers[slot * this.#stride]!, AGES - 1)
  }

  #keep(slots: Int32Array): void {
    const moved = new Int32Array(this.keys.count)
    for (let slot = 0; slot < slots.length; slot++) moved[slots[slot]!] = slot
    this.cells.keepRows(slots, this.#stride)
    this.keys.keep(slots)
    this.changed = this.changed.slice(0, this.changedCount).map((slot) => moved[slot]!)
    this.#count()
  }

  #insert(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const slot = this.keys.insert(hash, bytes, start, end)
    const needed = (slot + 1) * this.#stride
    if (needed > this.cells.numbers.length) {
      const rows = grownCapacity(this.cells.numbers.length / this.#stride, slot + 1)
      this.cells.resize(rows * this.#stride)
    }
    this.#count()
    return slot
  }

  #noteChange(slot: number): void {
    if (this.changedCount === this.changed.length) {
      this.changed = grown(this.changed, grownCapacity(this.changed.length, this.changedCount + 1))
      this.#count()
    }
    this.changed[this.changedCount++] = slot
  }

  #count(): void {
    const bytes = this.byteLength
    this.#budget.usedBytes += bytes - this.#countedBytes
    this.#countedBytes = bytes
  }
}

function allSlots(count: number): Int32Array {
  const slots = new Int32Array(count)
  for (let slot = 0; slot < count; slot++) slots[slot] = slot
  return slots
}
