import { LogError } from '../../log/errors.ts'
import { StateError } from '../state/port.ts'

/** The log or the state does not answer, or its storage refuses: it may again, after a while. */
const AWAY = new Set(['STORAGE', 'UNAVAILABLE', 'STATE_UNAVAILABLE'])

const RECOVERABLE = new Set([
  'FENCED',
  'STALE_GENERATION',
  'TRANSACTION_TIMED_OUT',
  'OUTCOME_UNKNOWN',
  // Who owns the task by now has deleted what it needs no more; where it is really so, open step 5 says it.
  'OFFSET_OUT_OF_RANGE',
  'STORAGE',
  'UNAVAILABLE',
])

/** What opening the tasks again mends. Anything else is a bug or needs a person. */
export function isRecoverable(error: unknown): error is StateError | LogError {
  return error instanceof StateError || (error instanceof LogError && RECOVERABLE.has(error.code))
}

/** What a pause may mend. */
export function isAway(error: StateError | LogError): boolean {
  return AWAY.has(error.code)
}

export function isStateAway(error: unknown): error is StateError {
  return error instanceof StateError && error.code === 'STATE_UNAVAILABLE'
}
