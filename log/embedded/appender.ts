import { KEY_END, STRIDE, type ProduceBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { LogCore } from './core.ts'
import type { Partition } from './partition.ts'
import { encodeSegments, type Segment } from './segment.ts'
import type { Change } from './storage.ts'

/**
 * Records that are decided together: a transaction's, or one idempotent send's. Their offsets are
 * given out when they come, so that readers stop before them until `commit` is on disk or `abort`.
 */
export class Appender {
  readonly #core: LogCore
  readonly #partitions = new Set<Partition>()
  #segments: { partition: Partition; segment: Segment }[] = []
  #bytes = 0

  constructor(core: LogCore) {
    this.#core = core
  }

  /**
   * Takes all batches or none.
   *
   * @returns the offset of each batch's first record
   * @throws LogError UNKNOWN_TOPIC, RECORD_TOO_LARGE, INVALID_STATE
   */
  append(batches: readonly ProduceBatch[]): number[] {
    const partitions = batches.map((batch) => this.#check(batch))
    this.#checkSize(batches)
    const { maxSegmentBytes } = this.#core.options
    const timestampMs = this.#core.nowMs()
    const encoded = batches.map((batch, i) => {
      const partition = partitions[i]!
      // Offsets are relative until all batches are known to be good.
      return encodeSegments(batch, { partitionId: partition.id, baseOffset: 0, timestampMs }, maxSegmentBytes)
    })
    return batches.map((batch, i) => {
      const partition = partitions[i]!
      if (batch.count === 0) return partition.end
      const first = partition.reserve(this, batch.count)
      this.#partitions.add(partition)
      this.#core.touch(partition)
      for (const segment of encoded[i]!) {
        this.#bytes += segment.value.length
        this.#segments.push({ partition, segment: atOffset(segment, first) })
      }
      return first
    })
  }

  /**
   * Makes everything durable, then visible, together with `also`.
   *
   * @param onDurable runs with the records' becoming visible
   * @throws LogError STORAGE: it is aborted
   */
  async commit(also: readonly Change[], onDurable: () => void): Promise<void> {
    const kept = this.#segments.filter(({ partition }) => !partition.deleted)
    const changes: Change[] = kept.map(({ segment }) => ({ segment: segment.ref, value: segment.value }))
    if (changes.length + also.length === 0) {
      onDurable()
      this.#decide()
      return
    }
    try {
      await this.#core.writer.write([...changes, ...also], () => {
        this.#core.cacheSegments(kept.map(({ segment }) => segment))
        for (const { partition, segment } of kept) partition.dirtyBytes += segment.value.length
        onDurable()
        this.#decide()
        for (const partition of this.#partitions) this.#core.onAppended(partition)
      })
    } catch (error) {
      this.#decide()
      throw error
    } finally {
      this.#segments = []
    }
  }

  /** The offsets given out stay empty. */
  abort(): void {
    this.#segments = []
    this.#decide()
  }

  #decide(): void {
    for (const partition of this.#partitions) {
      partition.decide(this)
      this.#core.touch(partition)
    }
    for (const partition of this.#partitions) partition.notify()
  }

  #check(batch: ProduceBatch): Partition {
    const partition = this.#core.partition(batch)
    if (partition.isCompacted) {
      for (let row = 0; row < batch.count * STRIDE; row += STRIDE) {
        if (batch.positions[row + KEY_END]! >= 0) continue
        throw new LogError(
          'INVALID_STATE',
          `Record ${row / STRIDE} for ${batch.topic}-${batch.partition} has no key: a compacted topic needs one`,
        )
      }
    }
    return partition
  }

  #checkSize(batches: readonly ProduceBatch[]): void {
    const { maxTransactionBytes } = this.#core.options
    let bytes = this.#bytes
    for (const batch of batches)
      bytes += batch.byteLength + batch.count * STRIDE * Int32Array.BYTES_PER_ELEMENT
    if (bytes <= maxTransactionBytes) return
    const topics = [...new Set(batches.map(({ topic }) => topic))].join(', ')
    throw new LogError(
      'RECORD_TOO_LARGE',
      `A transaction with ${bytes} bytes (the last ones for ${topics}) is over the limit of ${maxTransactionBytes}: commit more often, or raise maxTransactionBytes`,
    )
  }
}

function atOffset({ ref, value }: Segment, offset: number): Segment {
  return {
    ref: { ...ref, baseOffset: ref.baseOffset + offset, lastOffset: ref.lastOffset + offset },
    value,
  }
}
