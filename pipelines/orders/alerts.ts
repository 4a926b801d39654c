/** More orders in five minutes than this is a SPIKE. */
const SPIKE_ABOVE_ORDERS = 1_000
/** Fewer orders in five minutes than this is a DROP, none at all included. */
const DROP_BELOW_ORDERS = 5

export interface WindowCount {
  readonly window_start: number
  readonly window_end: number
  readonly order_count: number
}

export interface Alert extends WindowCount {
  readonly alert_type: 'SPIKE' | 'DROP'
}

/** The alert that a window's count calls for, or none. */
export function toAlert({ window_start, window_end, order_count }: WindowCount): Alert[] {
  if (order_count > SPIKE_ABOVE_ORDERS)
    return [{ alert_type: 'SPIKE', window_start, window_end, order_count }]
  if (order_count < DROP_BELOW_ORDERS) return [{ alert_type: 'DROP', window_start, window_end, order_count }]
  return []
}
