import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../config/clock.ts'
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts'
import { EmbeddedState } from '../../processor/state/embedded/embedded-state.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { TopicRegistryStore } from '../registry-store.ts'
import type { Stores } from './stores.ts'

// Several parts share one process here, so each gets less memory than it would take alone. The log's
// cache holds what was written last and is read next, by everybody.
const TAIL_CACHE_BYTES = 16 * 2 ** 20

/** Log and state on the local disk. */
export async function openEmbeddedStores({
  dataDir,
  clock,
}: {
  readonly dataDir: string
  readonly clock: Clock
}): Promise<Stores> {
  const directories = { log: join(dataDir, 'log'), state: join(dataDir, 'state') }
  mkdirSync(directories.log, { recursive: true })
  const log = await openEmbeddedLog({ directory: directories.log, clock, cacheBytes: TAIL_CACHE_BYTES })
  let state: EmbeddedState | null = null
  return {
    log,
    registry: new EmbeddedRegistry(new TopicRegistryStore(log)),
    logDescription: `${directories.log} (embedded`,
    stateDescription: `${directories.state} (embedded)`,
    openState: () => {
      mkdirSync(directories.state, { recursive: true })
      state = EmbeddedState.open(directories.state)
      return Promise.resolve(state)
    },
    close: async () => {
      await state?.close()
      await log.close()
    },
  }
}
