/**
 * The directory that holds a pipeline's log, state and warehouse. One process at a time may have it open.
 *
 * `lock` names the holder: pid, its start time (a pid alone may have been given to another process), the
 * boot, and a nonce that is never used twice. It is created whole (written aside, then linked), so it is never
 * seen half-written. A stale lock L is taken over by linking `lock.after-<nonce of L>`: as nonces do not come
 * back, exactly one process ever gets that name while L stands, and only it may replace L. If it dies on the
 * way, its own claim is stale and is taken over in the same manner. In another container a pid says
 * nothing; there the file locks of lmdb's and DuckDB's own files are the backstop.
 */
import { randomBytes } from 'node:crypto'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { isReadOnly, roomIn } from '../config/disk.ts'
import { CliError } from './errors.ts'

/** Of everything in the directory together; a part that changes its files in an incompatible way raises it. */
const FORMAT_VERSION = 1

/** More takeovers in a row than this: something creates and kills holders as fast as we look. */
const MAX_ATTEMPTS = 50

export interface LockHolder {
  readonly pid: number
  /** In the units of the operating system, or null where it does not tell. Compared for equality only. */
  readonly startedAt: string | null
  readonly bootId: string | null
  readonly nonce: string
}

export interface DataDir {
  /** Absolute. */
  readonly path: string
  /** Gives the directory free; also done when the process exits by itself. */
  release(): void
}

/** Who runs under a pid: its start time, `null` where that cannot be told, `undefined` if nobody does. */
type StartOf = (pid: number) => string | null | undefined

export interface DataDirOptions {
  /** Default: the operating system's word. */
  readonly startOf?: StartOf
}

/**
 * Creates the directory if needed, takes its lock and checks its format.
 * @throws CliError DATA_DIR_IN_USE with the holder's pid, DATA_DIR_UNUSABLE, DATA_DIR_FORMAT
 */
export function openDataDir(directory: string, { startOf = processStart }: DataDirOptions = {}): DataDir {
  const path = resolve(directory)
  makeDirectory(path)
  const self: LockHolder = {
    pid: process.pid,
    startedAt: startOf(process.pid) ?? null,
    bootId: bootId(),
    nonce: randomBytes(12).toString('hex'),
  }
  acquire(path, self, startOf)
  const release = (): void => {
    process.removeListener('exit', release)
    if (readHolder(join(path, 'lock'))?.nonce === self.nonce) rmSync(join(path, 'lock'), { force: true })
  }
  process.once('exit', release)
  try {
    removeLeftovers(path, startOf)
    checkFormat(path)
  } catch (error) {
    release()
    throw error
  }
  return { path, release }
}

/** Who has the directory open now, or null. */
export function holderOf(
  directory: string,
  { startOf = processStart }: DataDirOptions = {},
): LockHolder | null {
  const holder = readHolder(join(directory, 'lock'))
  return holder !== null && isAlive(holder, startOf) ? holder : null
}

function acquire(path: string, self: LockHolder, startOf: StartOf): void {
  const lock = join(path, 'lock')
  const draft = join(path, `lock.${self.nonce}`)
  try {
    writeFileSync(draft, JSON.stringify(self) + '\n')
  } catch (error) {
    throw unusable(path, error)
  }
  try {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (tryLink(draft, lock)) return
      const holder = readHolder(lock)
      if (holder === null) continue
      if (isAlive(holder, startOf)) throw inUse(path, holder)
      if (takeOver(path, holder, draft, startOf)) return
    }
  } finally {
    rmSync(draft, { force: true })
  }
  throw new CliError(
    'DATA_DIR_IN_USE',
    `${path} could not be locked: others keep taking and leaving it. Make sure that only one process uses it.`,
  )
}

/** Replaces the lock of a dead holder. False: somebody was faster, look again. */
function takeOver(path: string, dead: LockHolder, draft: string, startOf: StartOf): boolean {
  const lock = join(path, 'lock')
  const seen = new Set([dead.nonce])
  for (let last = dead; ;) {
    const claim = join(path, `lock.after-${last.nonce}`)
    if (!tryLink(draft, claim)) {
      const claimant = readHolder(claim)
      if (claimant === null) return false
      if (isAlive(claimant, startOf)) throw inUse(path, claimant)
      seen.add(claimant.nonce)
      last = claimant
      continue
    }
    const standing = readHolder(lock)
    if (standing === null || !seen.has(standing.nonce)) {
      // The claim is older news than the lock: it was made, used and removed while we were looking.
      unlinkSync(claim)
      return false
    }
    renameSync(draft, lock)
    return true
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** null: there is none, or it is none of ours (which can only be somebody's hand: it is then replaced). */
function readHolder(file: string): LockHolder | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    const { pid, startedAt, bootId, nonce } = JSON.parse(text) as LockHolder
    if (Number.isSafeInteger(pid) && typeof nonce === 'string') return { pid, startedAt, bootId, nonce }
  } catch {
    // Falls through: not JSON.
  }
  throw new CliError(
    'DATA_DIR_UNUSABLE',
    `${file} is damaged, so it cannot be told who uses the directory. If nobody does, remove that file.`,
  )
}

function isAlive(holder: LockHolder, startOf: StartOf): boolean {
  if (holder.bootId !== null && holder.bootId !== bootId()) return false
  const startedAt = startOf(holder.pid)
  if (startedAt === undefined) return false
  return startedAt === null || holder.startedAt === null || startedAt === holder.startedAt
}

/** The start time of a process in clock ticks since boot (Linux), null elsewhere, undefined if it is gone. */
export function processStart(pid: number): string | null | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command's name stands in brackets and may hold anything, so count from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // A zombie keeps its entry until its parent looks, and holds nothing any more.
    return fields[0] === 'Z' ? undefined : (fields[19] ?? null)
  } catch {
    return signalable(pid) ? null : undefined
  }
}

function signalable(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return null
  }
}

/**
 * With the lock in our hands no claim belongs to anybody who could still succeed. Drafts go when their
 * writer has died: a living one is about to be refused, and still holds on to its own.
 */
function removeLeftovers(path: string, startOf: StartOf): void {
  for (const name of readdirSync(path)) {
    const file = join(path, name)
    if (name.startsWith('lock.after-')) rmSync(file, { force: true })
    else if (/^lock\.[0-9a-f]{24}$/.test(name)) {
      const writer = readHolder(file)
      if (writer !== null && !isAlive(writer, startOf)) rmSync(file, { force: true })
    }
  }
}

function inUse(path: string, holder: LockHolder): CliError {
  return new CliError(
    'DATA_DIR_IN_USE',
    `${path} is in use by process ${holder.pid}. Stop that one first, or give this one another --data-dir ` +
      `('millrace query' works beside it).`,
  )
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true })
  } catch (error) {
    throw unusable(path, error)
  }
}

function unusable(path: string, error: unknown): CliError {
  const { code, message } = error as NodeJS.ErrnoException
  // Node says ENOENT of a directory that could not be made there.
  const what = isReadOnly(path)
    ? 'it is on a read-only file system'
    : code === 'EEXIST' || code === 'ENOTDIR'
      ? 'a file is in its place'
      : code === 'ENOSPC' || code === 'EDQUOT'
        ? `${message} (${roomIn(path)})`
        : message
  return new CliError(
    'DATA_DIR_UNUSABLE',
    `${path} cannot be used as the data directory: ${what}. Mend that, or choose another --data-dir.`,
  )
}

function checkFormat(path: string): void {
  const file = join(path, 'format')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const draft = `${file}.new`
    writeFileSync(draft, `${FORMAT_VERSION}\n`)
    renameSync(draft, file)
    return
  }
  const version = Number(text.trim())
  if (version === FORMAT_VERSION) return
  const found = Number.isSafeInteger(version) ? `format ${version}` : 'an unreadable format marker'
  throw new CliError(
    'DATA_DIR_FORMAT',
    `${path} has ${found}, and this version of Millrace knows format ${FORMAT_VERSION}. ` +
      `Use the version that wrote it, or another --data-dir.`,
  )
}
