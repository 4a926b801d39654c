import { EXIT } from './errors.ts'

const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const

/**
 * Calls `stop` at the first Ctrl+C or SIGTERM. The second ends the process at once, which is safe too: what
 * was not committed is done again at the next start.
 * @returns what undoes it
 */
export function onStopSignal(stop: (signal: NodeJS.Signals) => void): () => void {
  let asked = false
  const handler = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(EXIT.forced)
    asked = true
    stop(signal)
  }
  for (const signal of STOP_SIGNALS) process.on(signal, handler)
  return () => {
    for (const signal of STOP_SIGNALS) process.removeListener(signal, handler)
  }
}
