import { setTimeout as sleep } from 'node:timers/promises'
import type { Log, TopicPartition } from './port.ts'
import { readUntil } from './read-until.ts'

const STABLE_POLL_MS = 10
/** Longer than a dead producer's transaction lives (its time-out and the broker's sweep). */
const USUAL_WAIT_MS = 20_000

export interface LastValuesOptions {
  /** Ends the waiting, with its reason. */
  readonly signal?: AbortSignal
  /** Told once, in words, when it waits for longer than usual. */
  readonly onWait: (message: string) => void
}

/**
 * All that a partition of a compacted topic holds, the last value of each key, as text. To be called after the
 * producer of whoever may write there is initialised: who wrote before can add nothing any more, and what was
 * left open is about to end, which is awaited.
 */
export async function lastValues(
  log: Log,
  place: TopicPartition,
  { signal, onWait }: LastValuesOptions,
): Promise<Map<string, string>> {
  const stored = new Map<string, string>()
  let offsets = (await log.admin.offsets([place]))[0]!
  const end = offsets.end
  const beganMs = performance.now()
  let isSaid = false
  while (offsets.stable < end) {
    if (!isSaid && performance.now() - beganMs > USUAL_WAIT_MS) {
      isSaid = true
      onWait(
        `still waiting for an open transaction to end in ${place.topic} partition ${place.partition} (stable up to ` +
          `${offsets.stable} of ${end}): kafka-transactions.sh finds and ends what hangs.`,
      )
    }
    await sleep(STABLE_POLL_MS, undefined, { signal })
    offsets = (await log.admin.offsets([place]))[0]!
  }
  await readUntil(log, place, { from: offsets.start, end, ...(signal && { signal }) }, (batch) => {
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
