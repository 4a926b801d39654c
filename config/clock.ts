import { setImmediate, setTimeout } from 'node:timers/promises'

/** Time is passed in wherever behaviour depends on it, so that tests can hold and move it. */
export interface Clock {
  /** Epoch milliseconds. */
  nowMs(): number
}

/** Waiting is passed in too where a simulation has to choose what happens next. */
export interface Timer {
  /** Resolves after `ms`, or at once when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Lets everything else that is ready run first. */
  turn(): Promise<void>
}

export const systemClock: Clock = { nowMs: () => Date.now() }

export const systemTimer: Timer = {
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
  turn: () => setImmediate(),
}
