import { LogError } from '../../log/errors.ts'
import type { Log } from '../../log/port.ts'
import { readUntil } from '../../log/read-until.ts'
import type { Claim } from './open.ts'
import { OPENED_RECORD_KEY } from './progress.ts'

/**
 * Runs a check whose failure would stop the process. Who lost the task while opening it (stopped for long, say)
 * sees what its successor has committed and deleted since: that is no fault, and is mended by opening again.
 * @throws LogError STALE_GENERATION where somebody else has opened the task since; else what the check throws
 */
export async function asOwner<T>(claim: Claim, log: Log, check: () => T): Promise<T> {
  try {
    return check()
  } catch (error) {
    if (!(await wasOpenedSince(claim, log))) throw error
    throw new LogError('STALE_GENERATION', `${claim.id}: another process has opened it meanwhile`, {
      cause: error,
    })
  }
}

async function wasOpenedSince({ sub, partition, owner }: Claim, log: Log): Promise<boolean> {
  const changelog = { topic: sub.changelogTopic, partition }
  const [range] = await log.admin.offsets([changelog])
  const from = Math.max(owner.token + 1, range!.start)
  let isOpened = false
  await readUntil(log, changelog, { from, end: range!.stable }, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      if (batch.offsetAt(i) > owner.token && batch.keyAt(i)?.equals(OPENED_RECORD_KEY) === true)
        isOpened = true
    }
  })
  return isOpened
}
