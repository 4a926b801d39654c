/** What the log of a process ends with that died at its step, before the step's name. */
export const LAST_WORDS = 'faults: dies behind '
