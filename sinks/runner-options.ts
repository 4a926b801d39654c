import type { Clock } from '../config/clock.ts'
import type { Log } from '../log/port.ts'
import type { SchemaRegistry } from '../schemas/registry.ts'
import type { Sink } from './port.ts'

/** What a run tells of a sink; each once, when it happens. */
export type SinkEvent =
  | { readonly kind: 'prepared'; readonly destination: string; readonly changes: readonly string[] }
  /** It cannot be written for now, and is tried again. */
  | {
      readonly kind: 'waiting'
      readonly destination: string
      readonly error: Error
      readonly retryInMs: number
    }
  | { readonly kind: 'resumed'; readonly destination: string; readonly waitedMs: number }
  /** The destination holds less than it once did: rows below `until` are written again. */
  | {
      readonly kind: 'rewriting'
      readonly destination: string
      readonly topic: string
      readonly partition: number
      readonly from: number
      readonly until: number
    }
  | {
      readonly kind: 'refused'
      readonly destination: string
      readonly topic: string
      readonly partition: number
      readonly offset: number
      readonly reason: string
      readonly count: number
    }

export interface SinkRunnerOptions {
  readonly log: Log
  readonly registry: SchemaRegistry
  readonly sink: Sink
  /** Begins the names of the group, the dead letters' topic and the transactional id. */
  readonly application: string
  /** Of the dead letters. */
  readonly pipeline: string
  readonly topic: string
  /** Names this process; two that run at the same time must differ. */
  readonly instance: string
  readonly report: (event: SinkEvent) => void
  readonly clock?: Clock
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number
  /** A write has at most this many rows. Default 20,000. */
  readonly maxRows?: number
  /** And about this many bytes of values. Default 8 MiB. */
  readonly maxBytes?: number
  /** A record waits at most this long for others to be written with it. Default 200. */
  readonly maxDelayMs?: number
  /** Records in memory, in flight or waiting; reading pauses above. Default 32 MiB. */
  readonly maxHeldBytes?: number
  /** Between commits of the group's offsets. Default 1,000. */
  readonly commitIntervalMs?: number
  /** Of the first pause before a retry; they double. Default 100. */
  readonly initialBackoffMs?: number
  /** Default 10,000. */
  readonly maxBackoffMs?: number
}
