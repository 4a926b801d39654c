import { pino, type Logger } from 'pino'

export type { Logger }

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/**
 * The structured log: one JSON object a line, on standard error, so that it never mixes with what a command
 * prints. Levels are words and times ISO 8601, as collectors expect them.
 * @param level what MILLRACE_LOG_LEVEL says; default `warn`, since `run` tells its progress itself
 * @param write where lines go instead, each ended by a newline; at once, for the last ones before a crash
 * @throws RangeError for a level that does not exist
 */
export function createLogger(
  level: string | undefined,
  bindings: Readonly<Record<string, string>> = {},
  write?: (line: string) => void,
): Logger {
  const wanted = level === undefined || level === '' ? 'warn' : level.toLowerCase()
  if (!(LEVELS as readonly string[]).includes(wanted)) {
    throw new RangeError(`log level '${wanted}' does not exist; there are ${LEVELS.join(', ')}`)
  }
  return pino(
    {
      level: wanted,
      base: { ...bindings },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: the last lines before a crash are the ones that matter, and there are few.
    write === undefined ? pino.destination({ fd: 2, sync: true }) : { write },
  )
}
