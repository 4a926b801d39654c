import { LogError } from '../errors.ts'
import { compactPartition, type CompactionOptions } from './compaction.ts'
import type { LogCore } from './core.ts'
import type { Partition } from './partition.ts'
import type { SegmentRef } from './storage.ts'

export interface CleanerOptions extends CompactionOptions {
  /** A compacted partition is cleaned when this much is new, and no less than what was kept before. */
  readonly compactMinBytes: number
}

const SWEEP_SEGMENTS = 256

/**
 * Frees what nobody can read any more: below a partition's start, of deleted topics, past the
 * retention, and overwritten keys. One job at a time, each in small atomic writes, so that a crash
 * anywhere leaves a log that reads the same.
 */
export class Cleaner {
  readonly #core: LogCore
  readonly #options: CleanerOptions
  readonly #jobs = new Map<string, () => Promise<void>>()
  #running: Promise<void> | null = null
  #stopped = false

  constructor(core: LogCore, options: CleanerOptions) {
    this.#core = core
    this.#options = options
    core.onAppended = (partition) => this.#consider(partition)
  }

  /** Goes on with what a crash interrupted. */
  resume(dropped: readonly number[]): void {
    for (const id of dropped) this.drop(id)
    for (const { partitions } of this.#core.topics.values()) {
      for (const partition of partitions) {
        if (partition.start > 0) this.#add(`sweep/${partition.id}`, () => this.#sweep(partition))
        this.#consider(partition)
      }
    }
  }

  /**
   * Makes what lies below `offset` unreadable, durably; the space is freed behind.
   *
   * @throws LogError STORAGE
   */
  async raiseStart(partition: Partition, offset: number): Promise<void> {
    if (offset <= partition.start) return
    partition.start = offset
    this.#core.touch(partition)
    await this.#core.writer.write([])
    this.#add(`sweep/${partition.id}`, () => this.#sweep(partition))
  }

  /** Removes the segments of a partition whose topic is gone. */
  drop(partitionId: number): void {
    this.#add(`drop/${partitionId}`, async () => {
      // Commits that were on their way when the topic went are behind this.
      await this.#core.writer.write([])
      await this.#removeSegments(partitionId, Number.POSITIVE_INFINITY, () => undefined)
      if (!this.#stopped) await this.#core.finishDrop(partitionId)
    })
  }

  /** Resolves when all cleaning that was asked for is done. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running
  }

  /** Ends after the step that is under way; the rest is resumed at the next opening. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#jobs.clear()
    await this.settled()
  }

  /** On the hot path: two comparisons. */
  #consider(partition: Partition): void {
    if (this.#isDirty(partition)) this.#add(`compact/${partition.id}`, () => this.#compact(partition))
    if (partition.expires && this.#core.nowMs() >= partition.retentionDueMs) {
      this.#add(`expire/${partition.id}`, () => this.#expire(partition))
    }
  }

  #isDirty(partition: Partition): boolean {
    return (
      partition.isCompacted &&
      partition.dirtyBytes >= Math.max(this.#options.compactMinBytes, partition.cleanBytes)
    )
  }

  async #compact(partition: Partition): Promise<void> {
    if (!this.#isDirty(partition)) return
    await compactPartition(this.#core, partition, this.#options, () => this.#stopped)
  }

  async #expire(partition: Partition): Promise<void> {
    const { retentionMs } = partition.config
    const nowMs = this.#core.nowMs()
    let start = partition.start
    partition.retentionDueMs = nowMs + retentionMs
    search: for (;;) {
      const segments = this.#core.options.storage.segmentsFrom(partition.id, start, SWEEP_SEGMENTS)
      for (const { lastOffset, timestampMs } of segments) {
        if (lastOffset >= partition.stable) break search
        if (timestampMs + retentionMs >= nowMs) {
          partition.retentionDueMs = timestampMs + retentionMs + 1
          break search
        }
        start = lastOffset + 1
      }
      if (segments.length < SWEEP_SEGMENTS) break
    }
    await this.raiseStart(partition, start)
  }

  async #sweep(partition: Partition): Promise<void> {
    await this.#removeSegments(partition.id, partition.start, ({ lastOffset, byteLength }) => {
      if (lastOffset < partition.cleanedTo) partition.cleanBytes -= byteLength
      else partition.dirtyBytes -= byteLength
    })
    this.#core.touch(partition)
  }

  /** Removes the segments that end below `offset`. */
  async #removeSegments(
    partitionId: number,
    offset: number,
    onRemoved: (ref: SegmentRef) => void,
  ): Promise<void> {
    while (!this.#stopped) {
      const found = this.#core.options.storage.segmentsFrom(partitionId, 0, SWEEP_SEGMENTS)
      const refs = found.filter(({ lastOffset }) => lastOffset < offset)
      if (refs.length === 0) return
      await this.#core.writer.write(
        refs.map((segment) => ({ segment, value: null })),
        () => this.#core.uncache(refs),
      )
      refs.forEach(onRemoved)
    }
  }

  #add(name: string, job: () => Promise<void>): void {
    if (this.#stopped || this.#jobs.has(name)) return
    this.#jobs.set(name, job)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    // Never in the turn of the commit that asked for it.
    await new Promise((resolve) => setImmediate(resolve))
    for (const [name, job] of this.#jobs) {
      // First, so that what is asked for while it runs is done again behind it.
      this.#jobs.delete(name)
      try {
        await job()
      } catch (error) {
        // The storage is full or closing: whatever was not freed is still asked for by what comes next.
        if (!(error instanceof LogError)) throw error
      }
    }
    this.#running = null
  }
}
