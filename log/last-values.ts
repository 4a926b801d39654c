import type { Log, TopicPartition } from './port.ts'
import { readUntil } from './read-until.ts'
import { StableWait, type StableWaitOptions } from './stable-wait.ts'

export interface LastValuesOptions extends StableWaitOptions {
  /**
   * An offset that the caller has committed there, or -1. A leader that was deposed and has not heard of it tells an
   * older end than this: it is not believed.
   */
  readonly barrier: number
}

/**
 * All that a partition of a compacted topic holds, the last value of each key, as text. To be called after the
 * producer of whoever may write there is initialised: who wrote before can add nothing any more, and what was
 * left open is about to end, which is awaited.
 */
export async function lastValues(
  log: Log,
  place: TopicPartition,
  options: LastValuesOptions,
): Promise<Map<string, string>> {
  const { signal, barrier } = options
  const wait = new StableWait(options)
  let [offsets] = await log.admin.offsets([place])
  const end = Math.max(offsets!.end, barrier + 1)
  while (offsets!.stable < end) {
    await wait.pause([{ ...place, ...offsets! }])
    // Asks who leads it now.
    if (offsets!.end < end) await log.admin.describeTopics([place.topic])
    ;[offsets] = await log.admin.offsets([place])
  }
  const stored = new Map<string, string>()
  const reading = { from: offsets!.start, end, ...(signal && { signal }) }
  await readUntil(log, place, reading, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      const key = batch.keyAt(i)?.toString('utf8')
      if (key === undefined) continue
      const value = batch.valueAt(i)
      if (value === null) stored.delete(key)
      else stored.set(key, value.toString('utf8'))
    }
  })
  return stored
}
