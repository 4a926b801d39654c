import { SchemaError } from './errors.ts'

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, y: 365.25 * 86_400_000 } as const

/** A number of milliseconds, or a text such as `'250ms'`, `'30s'`, `'5m'`, `'1h'`, `'1d'`, `'30y'` (365.25 days). */
export type Duration = number | `${number}${keyof typeof UNITS_MS}`

/**
 * @param what names the setting in the error
 * @returns whole milliseconds, rounded
 * @throws SchemaError INVALID_DURATION when it is no duration or negative
 */
export function parseDurationMs(duration: Duration, what = 'a duration'): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|y)$/.exec(String(duration)) ?? []
  const ms =
    typeof duration === 'number' ? duration : Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS]
  if (!Number.isFinite(ms) || ms < 0) {
    throw new SchemaError(
      'INVALID_DURATION',
      `${JSON.stringify(duration)} is not ${what}: write a number and a unit, as '250ms', '30s', '5m', '1h', ` +
        `'1d' or '30y', or a number of milliseconds.`,
    )
  }
  return Math.round(ms)
}
