import type { Clock } from '../../config/clock.ts'
import type { Assignment, Recovered, RowBatch, Sink } from '../../sinks/port.ts'
import type { Logger } from '../../telemetry/log.ts'
import { decodeRows } from '../../sinks/rows.ts'
import { alert, type OrderAlert } from './contract.ts'

const HOUR_MS = 3_600_000

/**
 * Logs each alert at a fitting severity, at least once, with a key that tells repetitions: a SPIKE
 * is an error, a DROP a warning; one whose window ended over an hour ago is history (a replay, a
 * back-fill) and of interest to nobody but who asks for it (debug). The table has every alert.
 */
export class AlertLogger implements Sink {
  readonly destination = 'process-order-alerts'
  readonly keepsPositions = false
  readonly maxWritesInFlight = 1
  readonly #log: Logger
  readonly #clock: Clock

  constructor(options: { log: Logger; clock: Clock }) {
    this.#log = options.log
    this.#clock = options.clock
  }

  prepare(): Promise<readonly string[]> {
    return Promise.resolve([])
  }

  recover(assigned: readonly Assignment[]): Promise<readonly Recovered[]> {
    return Promise.resolve(assigned.map(() => ({ position: null, note: null })))
  }

  write(batch: RowBatch): Promise<null> {
    for (const row of decodeRows(this.destination, alert, batch)) this.#tell(row)
    return Promise.resolve(null)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #tell({ alert_type, window_start, window_end, order_count }: OrderAlert): void {
    const fields = {
      alert_type,
      window_start: new Date(window_start).toISOString(),
      window_end: new Date(window_end).toISOString(),
      order_count,
      idempotency_key: `${alert_type}/${window_start}`,
    }
    const message = `${alert_type}: ${order_count} orders in five minutes`
    if (this.#clock.nowMs() - window_end > HOUR_MS) this.#log.debug(fields, message)
    else if (alert_type === 'SPIKE') this.#log.error(fields, message)
    else this.#log.warn(fields, message)
  }
}
