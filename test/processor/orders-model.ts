import { ExactSum } from '../../processor/windows/exact-sum.ts'

const MINUTE = 60_000

export interface Timing {
  readonly sizeMs: number
  readonly graceMs: number
  readonly disorderMs: number
}

const ORDERS: Timing = { sizeMs: 5 * MINUTE, graceMs: 30_000, disorderMs: 60 * MINUTE }

export interface GivenOrder {
  readonly order_id: string
  readonly customer_id: string
  readonly amount: number
  readonly status: string
  readonly timestamp: number
}

export interface WindowRow {
  readonly window_start: number
  readonly order_count: number
  readonly total_revenue: number
}

/**
 * What `orders` must give, from the order of the input alone. Each inner list ends with an end mark.
 */
export function modelOf(
  runs: readonly (readonly GivenOrder[])[],
  { sizeMs, graceMs, disorderMs }: Timing = ORDERS,
): { windows: WindowRow[]; late: string[]; taken: string[] } {
  const seen = new Set<string>()
  const late: string[] = []
  const windows = new Map<number, { count: number; revenue: ExactSum }>()
  let [greatest, closedByEnd] = [-Infinity, -Infinity]
  for (const run of runs) {
    for (const order of run) {
      const watermark = greatest - disorderMs
      greatest = Math.max(greatest, order.timestamp)
      const id = `${order.order_id}/${order.status}`
      if (seen.has(id)) continue
      seen.add(id)
      const start = Math.floor(order.timestamp / sizeMs) * sizeMs
      if (watermark >= start + sizeMs + graceMs || start <= closedByEnd) late.push(id)
      else {
        const window = windows.get(start) ?? { count: 0, revenue: new ExactSum() }
        windows.set(start, window)
        window.count++
        window.revenue.add(order.amount)
      }
    }
    closedByEnd = greatest
  }
  const rows: WindowRow[] = []
  const starts = [...windows.keys()]
  for (let start = Math.min(...starts); start <= closedByEnd; start += sizeMs) {
    const window = windows.get(start)
    rows.push({
      window_start: start,
      order_count: window?.count ?? 0,
      total_revenue: window?.revenue.value() ?? 0,
    })
  }
  return { windows: starts.length === 0 ? [] : rows, late: late.sort(), taken: [...seen].sort() }
}
