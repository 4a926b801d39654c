import { LogError } from '../../log/errors.ts'
import type { Log, TopicPartition } from '../../log/port.ts'

/**
 * Whether a group has processed all that there is in its inputs, its own repartition topics among them: as a
 * transaction moves positions and outputs together, nothing is on its way between them then.
 */
export async function isDrained(
  log: Log,
  groupId: string,
  partitions: readonly TopicPartition[],
): Promise<boolean> {
  // Positions first: what is added to an input meanwhile is beyond them, never hidden behind them.
  const found = await log.admin.groupOffsets(groupId, partitions)
  const offsets = await log.admin.offsets(partitions)
  for (const [i, partition] of partitions.entries()) {
    const { start, stable, end } = offsets[i]!
    // Records below the start are deleted only once they are committed.
    const committed = Math.max(found[i]?.offset ?? start, start)
    if (stable < end) return false
    if (committed < end && !(await isEmptyFrom(log, partition, committed))) return false
  }
  return true
}

/** The offsets up to the end may be a gap that an aborted transaction left. */
async function isEmptyFrom(log: Log, partition: TopicPartition, offset: number): Promise<boolean> {
  const reader = log.partitionReader(partition, offset)
  try {
    return (await reader.read(1)) === null
  } catch (error) {
    // What was committed meanwhile has been deleted: there is more to look at, next time.
    if (error instanceof LogError && error.code === 'OFFSET_OUT_OF_RANGE') return false
    throw error
  } finally {
    await reader.close()
  }
}
