import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { StateBackend } from '../../processor/state/port.ts'
import type { SchemaRegistry } from '../../schemas/registry.ts'
import type { StackSettings } from '../settings/settings.ts'

/** Where a pipeline keeps what it knows: behind the ports, in one of the two settings (design §1). */
export interface Stores {
  readonly log: Log
  readonly registry: SchemaRegistry
  /** For people; holds no credentials. */
  readonly logDescription: string
  readonly stateDescription: string
  /** Opened when asked for, since not every role keeps state. Closed with the stores. */
  openState(application: string): Promise<StateBackend>
  close(): Promise<void>
}

export interface StoresOptions {
  /** null: embedded, in the directory. */
  readonly stack: StackSettings | null
  /** Of the embedded stores; locked by the caller. */
  readonly dataDir: string
  /** How Kafka's brokers see this process in their logs and quotas. */
  readonly clientId: string
  readonly clock: Clock
  /** Told what a person should know while it runs. */
  readonly notice: (message: string) => void
  /** Ends the waiting for servers. */
  readonly signal: AbortSignal
}

/** Each setting's libraries are loaded only where they are used: they are most of the time that a start takes. */
export async function openStores({ stack, ...options }: StoresOptions): Promise<Stores> {
  if (stack === null) {
    const { openEmbeddedStores } = await import('./embedded-stores.ts')
    return await openEmbeddedStores(options)
  }
  const { openStackStores } = await import('./stack-stores.ts')
  return await openStackStores({ stack, ...options })
}
