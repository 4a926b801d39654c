/** What the view and the lines say alike. */
import { formatBytes, formatCount, formatElapsed } from '../output/format.ts'
import type { Left } from './progress.ts'

export function perSecond(rate: number): string {
  return `${formatCount(Math.round(rate))}/s`
}

/** `2026-11-21 14:06:07`, UTC as all times of Millrace. */
export function timeOf(epochMs: number | null): string {
  if (epochMs === null) return '-'
  return new Date(epochMs).toISOString().slice(0, 19).replace('T', ' ')
}

/** `54 %`; 100 only when all of it is done. */
export function shareOf({ done, total }: Left): string {
  if (total === 0) return '100 %'
  return `${Math.floor((100 * Math.min(done, total)) / total)} %`
}

export function amountOf({ done, total, unit }: Left): string {
  return unit === 'bytes'
    ? `${formatBytes(done)} of ${formatBytes(total)}`
    : `${formatCount(done)} of ${formatCount(total)} records`
}

/** null: nothing can be said, or nothing is left. */
export function timeLeft({ seconds }: Left): string | null {
  if (seconds === null || seconds === 0) return null
  return `about ${formatElapsed(Math.max(1, Math.round(seconds)) * 1_000).replace(/\.\d s$/, ' s')} left`
}
