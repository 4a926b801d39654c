/** Time is passed in wherever behaviour depends on it, so that tests can hold and move it. */
export interface Clock {
  /** Epoch milliseconds. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: () => Date.now() }
