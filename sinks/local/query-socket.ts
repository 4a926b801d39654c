import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** The shortest limit of the systems that we run on (macOS has 104, Linux 108), less the final zero. */
const MAX_SOCKET_PATH_BYTES = 103

const SOCKET = 'query.sock'
/** Names the socket where the directory's own path is too long for one. */
const POINTER = 'query.socket'

/** What goes over the socket: one line each way, then it is closed. */
export interface QueryRequest {
  readonly sql: string
  readonly maxRows: number
}

/** Where a running process answers queries, or would. */
export function findSocket(directory: string): string {
  try {
    return readFileSync(join(directory, POINTER), 'utf8').trim()
  } catch {
    return join(resolve(directory), SOCKET)
  }
}

/**
 * Chooses the socket's path and clears away what a process that was killed has left. The caller has the
 * directory to itself, so nobody can be listening there.
 */
export function claimSocket(directory: string): string {
  releaseSocket(directory)
  const own = join(resolve(directory), SOCKET)
  if (Buffer.byteLength(own) <= MAX_SOCKET_PATH_BYTES) return own
  // mkdtemp makes directories that are their owner's alone.
  const path = join(mkdtempSync(join(tmpdir(), 'millrace-')), SOCKET)
  writeFileSync(join(directory, POINTER), `${path}\n`)
  return path
}

export function releaseSocket(directory: string): void {
  const path = findSocket(directory)
  rmSync(path, { force: true })
  // Only ever a directory that was made for the socket; one with anything else in it stays.
  if (dirname(path) !== resolve(directory) && /^millrace-/.test(dirname(path).slice(tmpdir().length + 1))) {
    rmSync(dirname(path), { recursive: true, force: true })
  }
  rmSync(join(directory, POINTER), { force: true })
}
