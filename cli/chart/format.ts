const GROUPED = new Intl.NumberFormat('en-US', { maximumFractionDigits: 2 })
const SHORT = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3, notation: 'scientific' })

const DAY_MS = 86_400_000

export function formatNumber(value: number): string {
  const size = Math.abs(value)
  return size !== 0 && (size < 0.01 || size >= 1e15) ? SHORT.format(value) : GROUPED.format(value)
}

/** UTC, as exactly as a chart over `spanMs` can show it. */
export function formatTime(ms: number, spanMs: number): string {
  const iso = new Date(ms).toISOString()
  if (spanMs > 14 * DAY_MS) return iso.slice(0, 10)
  return `${iso.slice(0, 10)} ${spanMs < 600_000 ? iso.slice(11, 19) : iso.slice(11, 16)}`
}
