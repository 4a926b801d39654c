/** What reads an application's log and state without a part in it: for `status`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { StateLook } from '../../processor/state/look.ts'
import { CliError } from '../errors.ts'
import type { Settings, StackSettings } from '../settings/settings.ts'

export interface Looks {
  readonly log: Log
  /** For people; holds no credentials. */
  readonly description: string
  /** In the order asked; null where there is none. */
  lookAtState(tasks: readonly string[]): Promise<(StateLook | null)[]>
  close(): Promise<void>
}

export interface LooksOptions {
  readonly settings: Settings
  readonly application: string
  readonly clock: Clock
  readonly notice: (message: string) => void
  readonly signal: AbortSignal
}

/** @throws CliError DATA_DIR_UNUSABLE where nothing has run; LogError, StateError where a server cannot be used */
export async function openLooks(options: LooksOptions): Promise<Looks> {
  const { stack, dataDir } = options.settings
  return stack === null ? await embeddedLooks(dataDir, options) : await stackLooks(stack, options)
}

async function embeddedLooks(dataDir: string, { clock }: LooksOptions): Promise<Looks> {
  const directories = { log: join(dataDir, 'log'), state: join(dataDir, 'state') }
  if (!existsSync(join(directories.log, 'data.mdb'))) {
    throw new CliError(
      'DATA_DIR_UNUSABLE',
      `nothing has run in ${dataDir} yet: run the pipeline first, or name another --data-dir.`,
    )
  }
  const { openEmbeddedLog } = await import('../../log/embedded/embedded-log.ts')
  const { EmbeddedState } = await import('../../processor/state/embedded/embedded-state.ts')
  const log = await openEmbeddedLog({ directory: directories.log, clock, cacheBytes: 0, readOnly: true })
  return {
    log,
    description: dataDir,
    lookAtState: async (tasks) => {
      if (!existsSync(join(directories.state, 'data.mdb'))) return tasks.map(() => null)
      const state = EmbeddedState.open(directories.state, { readOnly: true })
      try {
        return tasks.map((task) => state.look(task))
      } finally {
        await state.close()
      }
    },
    close: () => log.close(),
  }
}

async function stackLooks({ kafka, redis }: StackSettings, options: LooksOptions): Promise<Looks> {
  const { application, clock, notice, signal } = options
  const { openKafkaLog } = await import('../../log/kafkajs/kafka-log.ts')
  const { lookAtState } = await import('../../processor/state/redis/look.ts')
  const { connectionTo, tlsOf } = await import('./stack-stores.ts')
  const clientId = `millrace-${application}-status`
  const log = await openKafkaLog({ ...connectionTo(kafka), clientId, clock, report: notice, signal })
  return {
    log,
    description: kafka.brokers.join(','),
    lookAtState: async (tasks) => {
      if (redis === null) return tasks.map(() => null)
      const { url, tls, keyPrefix } = redis
      return await lookAtState({ url, keyPrefix, application, ...(tls && { tls: tlsOf(tls) }) }, tasks)
    },
    close: () => log.close(),
  }
}
