import { systemTimer, type Timer } from '../config/clock.ts'
import type { RecordBatch } from './batch.ts'
import type { Log, TopicPartition } from './port.ts'

const POLL_MS = 10

export interface ReadUntilOptions {
  readonly from: number
  /** At or below a last stable offset that somebody has been told. */
  readonly end: number
  /** Read at a time. Default 1 MiB. */
  readonly maxBytes?: number
  readonly timer?: Timer
  /** Ends the reading between two batches, with its reason. */
  readonly signal?: AbortSignal
}

/**
 * Gives all records of a partition from one offset to another, and none behind, at read_committed, outside of any
 * group.
 * @param take what it gives back is awaited; the batch's memory goes with it
 */
export async function readUntil(
  log: Log,
  place: TopicPartition,
  { from, end, maxBytes = 1024 * 1024, timer = systemTimer, signal }: ReadUntilOptions,
  take: (batch: RecordBatch) => Promise<void> | void,
): Promise<void> {
  if (from >= end) return
  const reader = log.partitionReader(place, from)
  try {
    // Ends on the position, never on a "last record seen": the end may be a gap.
    while (reader.position < end) {
      signal?.throwIfAborted()
      const batch = await reader.read(maxBytes)
      if (batch !== null) {
        const wanted = batch.nextOffset > end ? batch.before(end) : batch
        if (wanted.count > 0) await take(wanted)
        batch.release()
      }
      // Another replica may lag behind the one that told the end.
      else if (reader.position < end) await timer.sleep(POLL_MS, signal)
    }
  } finally {
    await reader.close()
  }
}
