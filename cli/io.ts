import type { Env } from './settings/settings.ts'

/** A stream that people or programs read. */
export interface Output {
  /** Whether what stands there can be written over. */
  readonly isTTY?: boolean
  /** Of a terminal; they change with its window. */
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
  /** A terminal says when its window has changed. */
  on?(event: 'resize', listener: () => void): unknown
  off?(event: 'resize', listener: () => void): unknown
}

/** What a command touches of the process around it, so that tests can stand in for it. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Env
  readonly cwd: string
}
