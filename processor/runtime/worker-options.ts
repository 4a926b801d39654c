import { systemClock, systemTimer, type Clock, type Timer } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { StateBackend } from '../state/port.ts'
import type { Plan } from '../topology/plan.ts'
import type { WorkerEvents } from './events.ts'
import type { StepObserver } from './protocol.ts'

export interface WorkerOptions {
  readonly log: Log
  readonly state: StateBackend
  readonly plan: Plan
  /** Schema ids by subject, as registered at start. */
  readonly schemaIds: ReadonlyMap<string, number>
  /** Part of the transactional id; a pod's name, say. Default: 128 random bits. */
  readonly instance?: string
  readonly clock?: Clock
  readonly timer?: Timer
  /** In [0, 1); spreads pauses. Default Math.random. */
  readonly random?: () => number
  /**
   * A commit is due this long after the first record that it covers. Default: adapts between
   * `minCommitIntervalMs` and `maxCommitIntervalMs`, so that commits take a tenth of the time.
   */
  readonly commitIntervalMs?: number
  /** Default 100. */
  readonly minCommitIntervalMs?: number
  /** Default 1,000. */
  readonly maxCommitIntervalMs?: number
  /** … or when so much waits to be sent. Default 4 MiB. */
  readonly commitBytes?: number
  /** … or so many records have been processed. Default 10,000. */
  readonly commitRecords?: number
  /** How much is fetched at a time. Default 1 MiB. */
  readonly fetchBytes?: number
  /** Memory for state beyond what is not yet applied. Default 48 MiB. */
  readonly cacheBytes?: number
  /** A task with no more changelog records to restore is opened before its group goes on. Default 10,000. */
  readonly inlineRestoreRecords?: number
  /** Memory for what restores have read and not yet applied: the more, the fewer rows are written twice. Default 48 MiB. */
  readonly restoreBytes?: number
  /** Whether whoever fills the inputs is held back by us: what does not come then is no stall. Default: never. */
  readonly isInputHeld?: () => boolean
  readonly onStep?: StepObserver
  readonly events?: WorkerEvents
  /** Told in words what a person should know: waits, recoveries, restores. */
  readonly report?: (message: string) => void
}

/** @returns the options with their defaults */
export function workerSettings(options: WorkerOptions) {
  return {
    clock: systemClock,
    timer: systemTimer,
    random: Math.random,
    minCommitIntervalMs: 100,
    maxCommitIntervalMs: 1000,
    commitBytes: 4 * 1024 * 1024,
    commitRecords: 10_000,
    fetchBytes: 1024 * 1024,
    cacheBytes: 48 * 1024 * 1024,
    inlineRestoreRecords: 10_000,
    restoreBytes: 48 * 1024 * 1024,
    isInputHeld: () => false,
    events: {},
    report: (): void => {},
    ...options,
    commitIntervalMs: options.commitIntervalMs ?? null,
  }
}

export type WorkerSettings = ReturnType<typeof workerSettings>
