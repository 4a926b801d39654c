/**
 * What `orders` must give for a file of lines, computed from the words of the documentation alone: nothing of
 * the engine is imported here.
 */
import type { GivenLine } from './input.ts'

const MINUTE = 60_000
const SIZE_MS = 5 * MINUTE
const GRACE_MS = MINUTE / 2
const DISORDER_MS = 60 * MINUTE

export interface ExpectedOptions {
  /** ORDERS_SPIKE_ABOVE and ORDERS_DROP_BELOW of the run. */
  readonly spikeAbove: number
  readonly dropBelow: number
}

/** A row as text, equal for equal rows. Times are epoch ms. */
export type Row = string

/** By the short name of the topic. */
export type Rows = ReadonlyMap<string, readonly Row[]>

export const TOPICS = {
  source: 'order-events',
  orders: 'ecommerce_orders.orders',
  metrics: 'ecommerce_orders.hourly_metrics',
  alerts: 'order-alerts',
  late: 'metrics-late',
  deadLetters: 'dead-letters',
} as const

/** Everything that must stand in the topics once a finite run has read the lines to their end. */
export function expectedRows(lines: readonly GivenLine[], options: ExpectedOptions): Rows {
  const rows = new Map<string, Row[]>(Object.values(TOPICS).map((topic) => [topic, []]))
  const add = (topic: string, row: object): void => void rows.get(topic)!.push(textOf(row))
  const windows = new Map<number, { count: number; revenue: bigint }>()
  const seen = new Set<string>()
  let greatest = -Infinity
  let position = 0
  for (const { text, order } of lines) {
    const start = position
    position += Buffer.byteLength(text) + 1
    if (order === null) {
      add(TOPICS.deadLetters, { position: start, payload: text })
      continue
    }
    // The source's promise before this record: so far is everything that came, less the disorder.
    const watermark = greatest === -Infinity ? null : greatest - DISORDER_MS
    greatest = Math.max(greatest, order.timestamp)
    add(TOPICS.source, { ...order, _event_time: order.timestamp, _watermark: watermark })
    const identity = JSON.stringify([order.order_id, order.status])
    if (seen.has(identity)) continue
    seen.add(identity)
    add(TOPICS.orders, order)
    const windowStart = Math.floor(order.timestamp / SIZE_MS) * SIZE_MS
    const windowEnd = windowStart + SIZE_MS
    if (watermark !== null && watermark >= windowEnd + GRACE_MS) {
      const window = { window_start: windowStart, window_end: windowEnd, watermark }
      add(TOPICS.late, { ...order, ...window, late_mark: 'watermark' })
      continue
    }
    const window = windows.get(windowStart) ?? { count: 0, revenue: 0n }
    windows.set(windowStart, window)
    window.count++
    window.revenue += exact(order.amount)
  }
  addWindows(windows, greatest, options, add)
  return rows
}

/** From the first window with an order to the one of the last event time, empty ones too. */
function addWindows(
  windows: ReadonlyMap<number, { readonly count: number; readonly revenue: bigint }>,
  greatest: number,
  { spikeAbove, dropBelow }: ExpectedOptions,
  add: (topic: string, row: object) => void,
): void {
  if (windows.size === 0) return
  const first = Math.min(...windows.keys())
  for (let start = first; start <= greatest; start += SIZE_MS) {
    const { count, revenue } = windows.get(start) ?? { count: 0, revenue: 0n }
    const window = { window_start: start, window_end: start + SIZE_MS, order_count: count }
    const total = rounded(revenue)
    add(TOPICS.metrics, {
      ...window,
      total_revenue: total,
      avg_order_value: count === 0 ? null : total / count,
    })
    if (count > spikeAbove) add(TOPICS.alerts, { ...window, alert_type: 'SPIKE' })
    else if (count < dropBelow) add(TOPICS.alerts, { ...window, alert_type: 'DROP' })
  }
}

/** Fields in the order of their names; what is missing is null. */
export function textOf(row: object): Row {
  const fields = Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(Object.fromEntries(fields))
}

// Doubles are whole multiples of 2^-60 from 2^-7 on, which every amount of the input exceeds: so their sum as a
// whole number is exact, and becomes a double again by rounding once.
const SCALE = 2 ** 60

function exact(amount: number): bigint {
  return BigInt(amount * SCALE)
}

function rounded(sum: bigint): number {
  return Number(sum) / SCALE
}
