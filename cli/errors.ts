import { inspect } from 'node:util'

export type CliErrorCode =
  | 'BAD_USAGE'
  | 'BAD_SETTING'
  | 'UNKNOWN_PIPELINE'
  | 'PIPELINE_NOT_LOADED'
  | 'UNKNOWN_QUERY'
  | 'NO_CHART'
  | 'NOT_SUPPORTED'
  | 'FILE_EXISTS'
  | 'DATA_DIR_IN_USE'
  | 'DATA_DIR_UNUSABLE'
  | 'DATA_DIR_FORMAT'

/** What the command itself refuses: its arguments, its settings, its directory. */
export class CliError extends Error {
  readonly code: CliErrorCode

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CliError'
    this.code = code
  }
}

export const EXIT = { ok: 0, failure: 1, usage: 2, forced: 130 } as const

const USAGE_CODES: ReadonlySet<string> = new Set([
  'BAD_USAGE',
  'BAD_SETTING',
  'UNKNOWN_PIPELINE',
  'UNKNOWN_QUERY',
  'NO_CHART',
  'NOT_SUPPORTED',
  'UNKNOWN_FORMAT',
  'NOT_A_QUERY',
  'BAD_QUERY',
])

/** What a full disk and its like mean here, since the operating system's words say only what happened. */
const SYSTEM_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: make room and run the same command again, nothing that was reported is lost.',
  EDQUOT:
    'The disk quota is used up: make room and run the same command again, nothing that was reported is lost.',
  EACCES: 'Check who owns it and its permissions.',
  EPERM: 'Check who owns it and its permissions.',
  EROFS: 'It is on a read-only file system: choose another --data-dir.',
  ENOENT: 'Check the path.',
  EMFILE: 'Too many open files: raise the limit (ulimit -n).',
}

const PLACES = new WeakMap<Error, string>()

/** Says where in a file an error lies, which what threw it could not know. @param place `file:line:column` */
export function locate<E extends Error>(error: E, place: string | null): E {
  if (place !== null) PLACES.set(error, place)
  return error
}

export interface ErrorReport {
  readonly text: string
  readonly exitCode: number
}

/**
 * An error in the one form that the command prints:
 *
 *     error CODE: what happened, and to what.
 *       at pipeline.ts:12:5
 *       What to do.
 *
 * What to do is the message from its second sentence on; the place is there where {@link locate} named one. An
 * error that nobody foresaw says so and brings its stack; others do with `debug` only.
 */
export function reportError(error: unknown, { debug = false }: { debug?: boolean } = {}): ErrorReport {
  const code = expectedCode(error)
  if (code === null) return { text: unexpected(error), exitCode: EXIT.failure }
  const message = (error as Error).message.replace(`${code}: `, '')
  const [what, ...advice] = firstSentence(message)
  const lines = [`error ${code}: ${what!}`]
  const place = PLACES.get(error as Error)
  if (place !== undefined) lines.push(`at ${place}`)
  lines.push(...advice)
  const systemAdvice = SYSTEM_ADVICE[code]
  if (systemAdvice !== undefined && isSystemError(error)) lines.push(systemAdvice)
  if (debug) lines.push(inspect(error))
  return { text: indent(lines.join('\n')), exitCode: USAGE_CODES.has(code) ? EXIT.usage : EXIT.failure }
}

/** What happened, and what the message says beyond that. */
function firstSentence(message: string): readonly string[] {
  const end = /[.?!](?=\s+[\p{Lu}'"(])/u.exec(message)
  return end === null ? [message] : [message.slice(0, end.index + 1), message.slice(end.index + 1).trim()]
}

function expectedCode(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null
  if (code === null || code.startsWith('ERR_') || !/^[A-Z][A-Z0-9_]*$/.test(code)) return null
  return code
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && 'syscall' in error
}

function unexpected(error: unknown): string {
  return (
    `error UNEXPECTED: this is a fault in Millrace, not in how you use it. Please report it with the lines below;\n` +
    `  what was committed before is kept, so the same command may be run again.\n${inspect(error)}`
  )
}

function indent(text: string): string {
  return text.replaceAll('\n', '\n  ')
}
