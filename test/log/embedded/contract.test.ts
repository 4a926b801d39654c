import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEmbeddedLog, openLogOn, type EmbeddedLog } from '../../../log/embedded/embedded-log.ts'
import { MemoryStorage } from '../../../log/embedded/memory-storage.ts'
import { logContract, type LogUnderTest } from '../../contract/log.ts'
import { ManualClock } from './support.ts'

/** So small that a few records make several segments, and compaction due. */
const SMALL = { compactMinBytes: 1_000, maxSegmentBytes: 8_192 }

async function underTest(
  open: (clock: ManualClock) => Promise<EmbeddedLog>,
  cleanUp: () => Promise<void>,
): Promise<LogUnderTest> {
  const clock = new ManualClock()
  let log = await open(clock)
  return {
    log,
    advance: async (ms) => {
      clock.advance(ms)
      log.checkTimeouts()
    },
    compact: () => log.cleaned(),
    reopen: async () => {
      await log.close()
      return (log = await open(clock))
    },
    close: async () => {
      await log.close()
      await cleanUp()
    },
  }
}

logContract('in memory', () => {
  const storage = new MemoryStorage()
  return underTest(
    (clock) => openLogOn(storage, { clock, ...SMALL }, 0),
    () => Promise.resolve(),
  )
})

logContract('on disk', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-log-'))
  return underTest(
    (clock) => openEmbeddedLog({ directory, clock, ...SMALL }),
    () => rm(directory, { recursive: true }),
  )
})
