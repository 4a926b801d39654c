/** What `--json` prints: one object a line; docs/terminal.md has the fields. */
import { formatIso } from '../output/format.ts'
import type { Progress } from './progress.ts'

/** Rates are rounded to whole records, times are ISO 8601; what the process has no role for is left out. */
export function jsonOf(progress: Progress): Record<string, unknown> {
  const { elapsedMs, bridge, process, sink, sources, tables, lag, watermarkMs, left } = progress
  return {
    elapsedMs: Math.round(elapsedMs),
    lag,
    watermark: formatIso(watermarkMs),
    left: left && { ...left, seconds: left.seconds === null ? null : Math.round(left.seconds) },
    ...(bridge && { bridge: rounded(bridge) }),
    ...(process && { process: rounded(process) }),
    ...(sink && { sink: rounded(sink) }),
    sources: sources.map(({ name, read, readPerSecond, invalid, lag, watermarkMs }) => ({
      name,
      ...(bridge && { read, readPerSecond: Math.round(readPerSecond), invalid }),
      lag,
      watermark: formatIso(watermarkMs),
    })),
    ...(sink && { tables: tables.map(rounded) }),
  }
}

function rounded(figures: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [
      name,
      typeof value === 'number' ? Math.round(value) : (value as unknown),
    ]),
  )
}
