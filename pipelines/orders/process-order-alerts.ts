import type { Clock } from '../../config/clock.ts'
import type { Assignment, Recovered, RowBatch, Sink } from '../../sinks/port.ts'
import type { Logger } from '../../telemetry/log.ts'
import { VALUE_END, VALUE_START, STRIDE } from '../../log/batch.ts'
import { alert } from './contract.ts'

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
  readonly #view = alert.view()

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

  write({ spans }: RowBatch): Promise<null> {
    for (const { records, indexes, count } of spans) {
      for (let i = 0; i < count; i++) {
        const row = indexes[i]! * STRIDE
        const { positions, buffer } = records
        this.#view.$wrap(buffer, positions[row + VALUE_START]! + 5, positions[row + VALUE_END]!)
        this.#tell()
      }
    }
    return Promise.resolve(null)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #tell(): void {
    const { alert_type, window_start, window_end, order_count } = this.#view
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
