import type { Clock } from '../../config/clock.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { Assignment, Recovered, RowBatch, Sink } from '../port.ts'
import { decodeRows } from '../rows.ts'
import { notifierName } from './channel.ts'
import { ageMsOf, alertOf, type AlertReading, type Notice } from './notice.ts'

export interface AlertLogOptions {
  readonly alerts: AlertReading
  readonly log: Logger
  readonly clock: Clock
  /** Older rows are history (a replay, a back-fill), of interest to nobody but who asks for it. */
  readonly maxAgeMs: number
}

/** Logs each row of a topic at the level of its severity (older ones at debug), at least once, with its key. */
export class AlertLog implements Sink {
  readonly destination: string
  readonly keepsPositions = false
  readonly maxWritesInFlight = 1
  readonly #options: AlertLogOptions

  constructor(options: AlertLogOptions) {
    this.destination = notifierName(options.alerts.topic)
    this.#options = options
  }

  prepare(): Promise<readonly string[]> {
    return Promise.resolve([])
  }

  recover(assigned: readonly Assignment[]): Promise<readonly Recovered[]> {
    return Promise.resolve(assigned.map(() => ({ position: null, note: null })))
  }

  write(batch: RowBatch): Promise<null> {
    const { incarnation, partition } = batch
    const rows = decodeRows(this.destination, batch, (row, offset) => ({
      row,
      notice: alertOf(this.#options.alerts, row, { incarnation, partition, offset }).notice,
    }))
    for (const { value, writtenMs } of rows) this.#tell(value.row, value.notice, writtenMs)
    return Promise.resolve(null)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #tell(row: Readonly<Record<string, unknown>>, notice: Notice, writtenMs: number): void {
    const { log, clock, maxAgeMs } = this.#options
    const { key, severity, text, window } = notice
    const times =
      window === null
        ? {}
        : {
            window_start: new Date(window.startMs).toISOString(),
            window_end: new Date(window.endMs).toISOString(),
          }
    const isOld = ageMsOf(notice, writtenMs, clock.nowMs()) > maxAgeMs
    log[isOld ? 'debug' : severity]({ ...row, ...times, idempotency_key: key }, text)
  }
}
