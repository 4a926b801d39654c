import { SchemaError } from './errors.ts'

/**
 * Marks are records about time, written between the data: a null key and the header
 * {@link MARK_HEADER}, so that other readers can skip them. Their value is JSON (they are rare).
 * All times are epoch milliseconds; what is not known yet is left out.
 */
export const MARK_HEADER = 'millrace-mark'

/** From whoever writes a source topic: nothing with an event time before `t` is outstanding. */
export interface Heartbeat {
  readonly kind: 'heartbeat'
  readonly writer: string
  readonly t: number
  /** How long the writer's word holds by the log's own timestamps; absent: for ever (positional sources). */
  readonly leaseMs?: number
}

/** The last finite source of a run has ended: windows that begin at or before `e` close. */
export interface EndMark {
  readonly kind: 'end'
  readonly e: number
}

/** What the tasks of a process promise to a downstream partition. */
export interface WatermarkMark {
  readonly kind: 'watermark'
  readonly tasks: readonly TaskWatermark[]
}

export interface TaskWatermark {
  readonly task: string
  /** No record with an event time before this will follow from the task. */
  readonly watermark?: number
  /** The end mark that the task has passed on, as event time. */
  readonly e?: number
  /** No record ingested before this will follow from the task. */
  readonly ingested?: number
}

export type Mark = Heartbeat | EndMark | WatermarkMark

export const MARK_HEADERS = { [MARK_HEADER]: Buffer.from('1') }

export function encodeMark(mark: Mark): Buffer {
  return Buffer.from(JSON.stringify(mark))
}

/** The mark in a record's value. @throws SchemaError MALFORMED_RECORD when the value is none */
export function decodeMark(value: Uint8Array | null): Mark {
  if (value === null) throw malformed('it has no value')
  let mark: unknown
  try {
    mark = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8'))
  } catch (error) {
    throw malformed((error as Error).message)
  }
  if (!isMark(mark)) throw malformed('it is neither a heartbeat, an end nor a watermark')
  return mark
}

/** A wrong one would move time for all that follows: anybody who can write to the topic can write one. */
function isMark(value: unknown): value is Mark {
  if (typeof value !== 'object' || value === null) return false
  const { kind, writer, t, leaseMs, e, tasks } = value as Record<string, unknown>
  switch (kind) {
    case 'heartbeat':
      return typeof writer === 'string' && Number.isFinite(t) && isTime(leaseMs)
    case 'end':
      return Number.isFinite(e)
    case 'watermark':
      return Array.isArray(tasks) && tasks.every(isTaskWatermark)
    default:
      return false
  }
}

function isTaskWatermark(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { task, watermark, e, ingested } = value as Record<string, unknown>
  return typeof task === 'string' && [watermark, e, ingested].every(isTime)
}

function isTime(value: unknown): boolean {
  return value === undefined || Number.isFinite(value)
}

function malformed(why: string): SchemaError {
  return new SchemaError(
    'MALFORMED_RECORD',
    `A record with the header ${MARK_HEADER} is no mark (${why}): something else writes to this topic.`,
  )
}
