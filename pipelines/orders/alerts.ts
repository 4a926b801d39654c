import type { Stall } from '../../processor/topology/stalls.ts'
import { parseDurationMs, type Duration } from '../../schemas/duration.ts'

export interface Thresholds {
  /** More orders in five minutes than this is a SPIKE. */
  readonly spikeAbove: number
  /** Fewer orders in five minutes than this is a DROP, none at all included. */
  readonly dropBelow: number
  /** Nothing from the source for so long, by the wall clock, is STALLED. */
  readonly stalledAfterMs: number
}

export interface WindowCount {
  readonly window_start: number
  readonly window_end: number
  readonly order_count: number
}

export interface Alert extends WindowCount {
  readonly alert_type: 'SPIKE' | 'DROP' | 'STALLED'
}

/**
 * The thresholds that the environment asks for: ORDERS_SPIKE_ABOVE (default 1,000) and ORDERS_DROP_BELOW
 * (default 5), in orders a window; ORDERS_STALLED_AFTER (default 10m), a duration.
 * @throws RangeError when one is not what it can be, or when every window would be both
 */
export function thresholdsOf(env: Readonly<Record<string, string | undefined>>): Thresholds {
  const spikeAbove = wholeNumber(env, 'ORDERS_SPIKE_ABOVE', 1_000)
  const dropBelow = wholeNumber(env, 'ORDERS_DROP_BELOW', 5)
  if (spikeAbove + 1 < dropBelow) {
    throw new RangeError(
      `ORDERS_SPIKE_ABOVE (${spikeAbove}) lies below ORDERS_DROP_BELOW (${dropBelow}): a window could be both. Raise the first or lower the second.`,
    )
  }
  return { spikeAbove, dropBelow, stalledAfterMs: duration(env, 'ORDERS_STALLED_AFTER', '10m') }
}

/** Gives the alert that a window's count calls for, or none. */
export function alerting({ spikeAbove, dropBelow }: Thresholds): (window: WindowCount) => Alert[] {
  return ({ window_start, window_end, order_count }) => {
    if (order_count > spikeAbove) return [{ alert_type: 'SPIKE', window_start, window_end, order_count }]
    if (order_count < dropBelow) return [{ alert_type: 'DROP', window_start, window_end, order_count }]
    return []
  }
}

/** The alert that a source which stalls calls for; its window is the silence. */
export function stalled({ since, noticed_at }: Stall): Alert {
  return { alert_type: 'STALLED', window_start: since, window_end: noticed_at, order_count: 0 }
}

function duration(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  fallback: Duration,
): number {
  const given = env[name]
  try {
    const ms = parseDurationMs(given === undefined || given === '' ? fallback : (given as Duration))
    if (ms > 0) return ms
  } catch {
    // Said below.
  }
  throw new RangeError(`${name} is '${given}': it must be a duration above nothing, such as 10m or 1h.`)
}

function wholeNumber(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  fallback: number,
): number {
  const given = env[name]
  if (given === undefined || given === '') return fallback
  if (/^\d+$/.test(given)) return Number(given)
  throw new RangeError(`${name} is '${given}': it must be a whole number of orders, 0 or more.`)
}
