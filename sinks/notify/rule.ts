/**
 * Which rows people are told of. Rows of one kind in consecutive windows are a run: a window's row goes on with it
 * when its window begins where the last one ended. The first of a run is sent at once. Its last is known only
 * when the run is over, so each row waits to be the last, until
 *
 * - a row of its group comes that does not go on with it (another kind, or windows in between), or
 * - no row has gone on with it for two windows by the reader's clock, or
 * - the input has ended.
 *
 * The latter two may be wrong: a source was away, or more input follows. Then the run goes on where it was: what
 * comes is no new first, and its own last is sent when that is known. A run of one window is sent once.
 *
 * Rows that are too old when they come (a back-fill, a replay) are not seen here at all. So the first row of a run
 * that is young enough is its first.
 */
import type { Alert, Notice } from './notice.ts'

/** The run that a group is in, or was in last. */
export interface Run {
  readonly kind: string
  /** Start of its first window. */
  readonly sinceMs: number
  readonly windows: number
  /** Of its latest window. */
  readonly startMs: number
  readonly endMs: number
  /** What is to be sent should the latest window be the last; null: it has been sent. */
  readonly waiting: Notice | null
}

/** One thing to do: send a notice (null: none), behind which the group's run is this. */
export interface Step {
  readonly notice: Notice | null
  /** null: the group has none. */
  readonly run: Run | null
}

/** Windows without a further row after which a run counts as over. */
const QUIET_WINDOWS = 2

/** What a row calls for, in order; never nothing. @param run that of its group, null: it has none */
export function steps(run: Run | null, { kind, notice }: Alert): readonly Step[] {
  const { window } = notice
  if (kind === null || window === null) return [{ notice, run }]
  const { startMs, endMs } = window
  if (run?.kind === kind && run.startMs === startMs) {
    // An update of the same window: the later one is the truth, should it still be sent.
    return [{ notice: null, run: run.waiting === null ? run : { ...run, waiting: notice } }]
  }
  if (run?.kind === kind && run.endMs === startMs) {
    const windows = run.windows + 1
    return [{ notice: null, run: { ...run, windows, startMs, endMs, waiting: notice } }]
  }
  const first = { kind, sinceMs: startMs, windows: 1, startMs, endMs, waiting: null }
  return [...(run?.waiting ? [close(run)] : []), { notice, run: first }]
}

/** Sends the last of a run that is over as far as can be told; one whose row waits. */
export function close(run: Run): Step {
  const { waiting, windows, sinceMs } = run
  return {
    notice: waiting === null ? null : { ...waiting, run: { windows, sinceMs } },
    run: { ...run, waiting: null },
  }
}

/** How long a run is without a further row until it counts as over. */
export function quietMs({ startMs, endMs }: Run): number {
  return QUIET_WINDOWS * (endMs - startMs)
}

/** How old, by the end of its window, a run's last may be when it is sent: it had to wait for two windows. */
export function maxAgeOfLastMs(run: Run, maxAgeMs: number): number {
  return Math.max(maxAgeMs, quietMs(run) + (run.endMs - run.startMs))
}
