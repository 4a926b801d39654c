import { parseDurationMs, type Duration } from '../../schemas/duration.ts'

export interface TumblingOptions {
  /** How long a window stays open for disordered records after its end. Default 0. */
  readonly grace?: Duration
  /** Emit windows without records too, from the first non-empty one on. Keyless aggregates only. */
  readonly emptyWindows?: boolean
  /** After so many empty windows in a row the rest up to the next record is skipped. Default 100,000. */
  readonly maxEmptyWindows?: number
}

/** Windows [start, start + size), aligned to the epoch. */
export interface TumblingWindows {
  readonly kind: 'tumbling'
  readonly sizeMs: number
  readonly graceMs: number
  readonly emptyWindows: boolean
  readonly maxEmptyWindows: number
}

/** @throws SchemaError when the size is not a positive duration */
export function tumbling(size: Duration, options: TumblingOptions = {}): TumblingWindows {
  const sizeMs = parseDurationMs(size)
  if (sizeMs <= 0) throw new RangeError(`tumbling window: its size must be positive, not ${String(size)}`)
  return {
    kind: 'tumbling',
    sizeMs,
    graceMs: parseDurationMs(options.grace ?? 0),
    emptyWindows: options.emptyWindows ?? false,
    maxEmptyWindows: options.maxEmptyWindows ?? 100_000,
  }
}

export function windowStartOf(eventTimeMs: number, sizeMs: number): number {
  return Math.floor(eventTimeMs / sizeMs) * sizeMs
}

/** The first window start that `watermark` and the end mark `e` leave open (design §7). */
export function firstOpenStart(windows: TumblingWindows, watermark: number, e: number): number {
  const { sizeMs, graceMs } = windows
  // Closed by the watermark: start + size + grace <= watermark. Closed by the end mark: start <= e.
  const byWatermark =
    watermark === -Infinity ? -Infinity : windowStartOf(watermark - sizeMs - graceMs, sizeMs) + sizeMs
  const byEndMark = e === -Infinity ? -Infinity : windowStartOf(e, sizeMs) + sizeMs
  return Math.max(byWatermark, byEndMark)
}
