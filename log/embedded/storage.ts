/**
 * What the embedded log needs of a store: small entries by name, and segments in order. Everything
 * else (offsets, transactions, groups) lives in the core, in memory, and is rebuilt from the entries.
 */
export interface SegmentStorage {
  /** All named entries. Called once, at opening. */
  entries(): Iterable<readonly [key: string, value: string]>
  /** The first `limit` segments of a partition that end at `offset` or later, in offset order. */
  segmentsFrom(partitionId: number, offset: number, limit: number): SegmentRef[]
  /** A segment's bytes, owned by the caller and aligned to 8; null when it is gone. */
  read(segment: SegmentRef): Buffer | null
  /**
   * All changes or none; resolves when they are on disk. The values must not change until then.
   * Removals come first where the same key is removed and put.
   */
  write(changes: readonly Change[]): Promise<void>
  close(): Promise<void>
}

/** A segment as the index knows it: enough to skip, expire and order it without touching its bytes. */
export interface SegmentRef {
  readonly partitionId: number
  /** The last record's offset. Segments are ordered by it: one forward seek finds where to read. */
  readonly lastOffset: number
  /** The first record's offset. */
  readonly baseOffset: number
  /** Append time, epoch ms; the latest where `perRecordTimes`. */
  readonly timestampMs: number
  readonly count: number
  readonly byteLength: number
  /** The records' own append times come first in the value (compaction merges segments). */
  readonly perRecordTimes: boolean
}

/** `value` null: remove. */
export type Change =
  | { readonly segment: SegmentRef; readonly value: Buffer | null }
  | { readonly entry: string; readonly value: string | null }
