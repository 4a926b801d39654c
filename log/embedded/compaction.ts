import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { STRIDE, VALUE_END, type RecordBatch } from '../batch.ts'
import type { LogCore } from './core.ts'
import type { Partition } from './partition.ts'
import { decodeSegment, SegmentMerger } from './segment.ts'
import type { Change, SegmentRef } from './storage.ts'

export interface CompactionOptions {
  /** How long a tombstone is kept, so that a slow reader of the log still sees it. */
  readonly tombstoneRetentionMs: number
}

/** What one pass remembers of keys, at most; the next pass takes the rest. */
const MAX_KEYS = 250_000
const MAX_KEY_BYTES = 32 * 2 ** 20
/** Longer keys are remembered by hash. */
const LONG_KEY_BYTES = 64
/** Source segments held at once while a merged one is gathered. */
const MAX_SOURCE_BYTES = 8 * 2 ** 20

/**
 * Keeps the last record of each key, at its offset. As Kafka's cleaner: the latest offset of each
 * key in the part that is new since the last pass, then one walk from the start that drops what is
 * older, merging segments as it goes. Every step replaces a few segments in one atomic write, from
 * low offsets to high ones, so a crash in between leaves older records, never fewer latest ones.
 * Only below the last stable offset: above it, what is latest is not decided.
 *
 * @param isStopped looked at between steps
 * @throws LogError STORAGE
 */
export async function compactPartition(
  core: LogCore,
  partition: Partition,
  options: CompactionOptions,
  isStopped: () => boolean,
): Promise<void> {
  const latest = await latestOffsets(core, partition, isStopped)
  if (latest.to <= partition.cleanedTo) return
  const rewriter = new Rewriter(core, partition, latest.offsets, core.nowMs() - options.tombstoneRetentionMs)
  for (const { ref, batch } of segments(core, partition, partition.start, latest.to)) {
    if (isStopped() || partition.deleted) return
    if (rewriter.take(ref, batch)) await rewriter.write()
    await nextTurn()
  }
  await rewriter.write()
  partition.cleanedTo = latest.to
  partition.cleanBytes = rewriter.keptBytes
  partition.dirtyBytes = Math.max(0, partition.dirtyBytes - latest.bytes)
  core.touch(partition)
}

async function latestOffsets(
  core: LogCore,
  partition: Partition,
  isStopped: () => boolean,
): Promise<{ offsets: Map<string, number>; to: number; bytes: number }> {
  const offsets = new Map<string, number>()
  let to = partition.cleanedTo
  let bytes = 0
  let keyBytes = 0
  for (const { ref, batch } of segments(core, partition, partition.cleanedTo, partition.stable)) {
    if (isStopped() || partition.deleted) return { offsets, to: partition.cleanedTo, bytes: 0 }
    for (let i = 0; i < batch.count; i++) {
      const key = keyOf(batch, i)
      if (!offsets.has(key)) keyBytes += key.length
      offsets.set(key, batch.offsetAt(i))
    }
    to = ref.lastOffset + 1
    bytes += ref.byteLength
    if (offsets.size >= MAX_KEYS || keyBytes >= MAX_KEY_BYTES) break
    await nextTurn()
  }
  return { offsets, to, bytes }
}

function* segments(
  core: LogCore,
  partition: Partition,
  from: number,
  below: number,
): Generator<{ ref: SegmentRef; batch: RecordBatch }> {
  let position = from
  for (;;) {
    const ref = core.options.storage.segmentsFrom(partition.id, position, 1)[0]
    if (ref === undefined || ref.lastOffset >= below) return
    const value = core.segmentValue(ref)
    yield { ref, batch: decodeSegment({ ref, value }, partition.topic, partition.index) }
    position = ref.lastOffset + 1
  }
}

/** A record without a key cannot get into a compacted topic. */
function keyOf(batch: RecordBatch, index: number): string {
  const key = batch.keyAt(index)!
  return key.length <= LONG_KEY_BYTES
    ? key.toString('latin1')
    : createHash('sha256').update(key).digest('base64')
}

/** Gathers what stays of consecutive segments until it is worth a write. */
class Rewriter {
  keptBytes = 0
  readonly #core: LogCore
  readonly #partition: Partition
  readonly #latest: ReadonlyMap<string, number>
  readonly #tombstonesBeforeMs: number
  #sources: SegmentRef[] = []
  #sourceBytes = 0
  #dropped = 0
  #merger: SegmentMerger

  constructor(
    core: LogCore,
    partition: Partition,
    latest: ReadonlyMap<string, number>,
    tombstonesBeforeMs: number,
  ) {
    this.#core = core
    this.#partition = partition
    this.#latest = latest
    this.#tombstonesBeforeMs = tombstonesBeforeMs
    this.#merger = new SegmentMerger(partition.id)
  }

  /** @returns true when `write` is due */
  take(ref: SegmentRef, batch: RecordBatch): boolean {
    for (let i = 0; i < batch.count; i++) {
      if (this.#stays(batch, i)) this.#merger.add(batch, i)
      else this.#dropped++
    }
    this.#sources.push(ref)
    this.#sourceBytes += ref.byteLength
    return (
      this.#merger.byteLength >= this.#core.options.maxSegmentBytes || this.#sourceBytes >= MAX_SOURCE_BYTES
    )
  }

  /** Replaces the segments taken by what stays of them. */
  async write(): Promise<void> {
    const sources = this.#sources
    const merger = this.#merger
    const isSame = sources.length <= 1 && this.#dropped === 0
    this.#sources = []
    this.#merger = new SegmentMerger(this.#partition.id)
    if (isSame) {
      this.keptBytes += this.#sourceBytes
    } else {
      const changes: Change[] = sources.map((segment) => ({ segment, value: null }))
      if (merger.count > 0) {
        const { ref, value } = merger.finish()
        this.keptBytes += value.length
        changes.push({ segment: ref, value })
      }
      await this.#core.writer.write(changes, () => this.#core.uncache(sources))
    }
    this.#sourceBytes = 0
    this.#dropped = 0
  }

  #stays(batch: RecordBatch, index: number): boolean {
    const offset = batch.offsetAt(index)
    const latest = this.#latest.get(keyOf(batch, index))
    if (latest !== undefined && latest > offset) return false
    const isTombstone = batch.positions[index * STRIDE + VALUE_END]! < 0
    return !isTombstone || batch.timestampAt(index) >= this.#tombstonesBeforeMs
  }
}
