/** What people are told of a row, and what it is made of. */
import { createHash } from 'node:crypto'
import type { Notify, Severity } from '../../schemas/destinations.ts'
import type { Row } from '../../schemas/schema.ts'

export interface Notice {
  /** The same for the same notice, however often it is sent: who takes it can tell repetitions by it. */
  readonly key: string
  readonly severity: Severity
  readonly pipeline: string
  readonly text: string
  /** Where the row stands in its topic. */
  readonly offset: number
  /** Epoch ms; null: the row has none. */
  readonly window: { readonly startMs: number; readonly endMs: number } | null
  /** Of the last of a run; null: its first, or no run. */
  readonly run: { readonly windows: number; readonly sinceMs: number } | null
}

/** A row as the notifier's rule sees it. */
export interface Alert {
  readonly group: string
  /** What rows of one run have in common; null: each row stands alone. */
  readonly kind: string | null
  readonly notice: Notice
}

export interface AlertReading {
  readonly application: string
  /** As the pipeline calls it. */
  readonly topic: string
  readonly notify: Notify<Row>
}

const MAX_TEXT_CHARACTERS = 1_000
const MAX_KEY_CHARACTERS = 200

/** @param place names the row where it has no window: no other row ever has the same */
export function alertOf({ application, topic, notify }: AlertReading, row: Row, place: Place): Alert {
  const { text, severity, runsOf, per = [] } = notify as Notify<Row>
  const kind = runsOf === undefined ? null : valuesOf(row, runsOf)
  const group = valuesOf(row, per)
  const window = windowOf(row)
  const identity =
    kind === null || window === null
      ? [place.incarnation, String(place.partition), String(place.offset)]
      : [...group, ...kind, new Date(window.startMs).toISOString()]
  return {
    group: JSON.stringify(group),
    kind: kind === null ? null : JSON.stringify(kind),
    notice: {
      key: keyOf([application, topic, ...identity]),
      severity: severity?.(row) ?? 'warn',
      pipeline: application,
      text: oneLine(text(row)),
      offset: place.offset,
      window,
      run: null,
    },
  }
}

export interface Place {
  readonly incarnation: string
  readonly partition: number
  readonly offset: number
}

/** Since its window ended, or, without one, since its row was written. */
export function ageMsOf({ window }: Notice, writtenMs: number, nowMs: number): number {
  return nowMs - (window?.endMs ?? writtenMs)
}

/** `SPIKE: 1204 orders (2026-11-21 14:05 to 14:10 UTC)`, and of which run it is the last. */
export function lineOf({ text, window, run }: Notice): string {
  const when = window === null ? '' : ` (${span(window)})`
  if (run === null) return `${text}${when}`
  return `${text}${when}, the last of ${run.windows} such windows in a row since ${minute(run.sinceMs)} UTC`
}

function windowOf({ window_start: startMs, window_end: endMs }: Row): Notice['window'] {
  return typeof startMs === 'number' && typeof endMs === 'number' ? { startMs, endMs } : null
}

function valuesOf(row: Row, columns: readonly string[]): string[] {
  return columns.map((column) => String(row[column]))
}

/** Fit for a header, whatever the values are. */
function keyOf(parts: readonly string[]): string {
  const key = parts.map(encodeURIComponent).join('/').replaceAll('%3A', ':')
  if (key.length <= MAX_KEY_CHARACTERS) return key
  return `${encodeURIComponent(parts[0]!)}/${createHash('sha256').update(key).digest('hex')}`
}

/** A line break in a mail's subject would be another header. */
function oneLine(text: string): string {
  const line = text.replaceAll(/[\x00-\x1f\x7f]+/g, ' ').trim()
  return line.length <= MAX_TEXT_CHARACTERS ? line : `${line.slice(0, MAX_TEXT_CHARACTERS)}…`
}

function span({ startMs, endMs }: { readonly startMs: number; readonly endMs: number }): string {
  const [from, to] = [minute(startMs), minute(endMs)]
  const isOneDay = from.slice(0, 10) === to.slice(0, 10)
  return `${from} to ${isOneDay ? to.slice(11) : to} UTC`
}

/** `2026-11-21 14:05`; with seconds where there are any. */
function minute(ms: number): string {
  const text = new Date(ms).toISOString()
  return `${text.slice(0, 10)} ${ms % 60_000 === 0 ? text.slice(11, 16) : text.slice(11, 19)}`
}
