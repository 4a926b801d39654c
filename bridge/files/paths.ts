import { constants, type Stats } from 'node:fs'
import { access, glob, readdir, realpath, stat } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { SourceError } from '../errors.ts'

/** A file as it was asked for, and as it was at the last look. */
export interface InputPath {
  /** As the user gave it, made absolute: what dead letters name. */
  readonly path: string
  /** Without symbolic links: what positions are kept under, so that a file has one. */
  readonly realPath: string
  /** Whether it was named itself, and not by its directory or a pattern. */
  readonly isNamed: boolean
  readonly size: number
  /** When the file was last changed, epoch ms. */
  readonly modifiedMs: number
  /** Another one is another file under the same path. */
  readonly inode: number
  /** Changes with the content, the size and the permissions. */
  readonly version: string
}

/** What was found at a look; `problems` are the entries of directories and patterns that cannot be read. */
export interface Look {
  readonly files: readonly InputPath[]
  readonly problems: readonly SourceError[]
}

const PATTERN = /[*?[{]/

/**
 * Looks at every path: a file, a directory (the files right in it) or a pattern. A file that is given twice
 * (by whatever name) is taken once, in the place of its first mention; those of a directory or a pattern are
 * in the order of their names.
 * @throws SourceError for the first named one that is missing or not readable
 */
export async function lookAtPaths(paths: readonly string[]): Promise<Look> {
  const files = new Map<string, InputPath>()
  const problems: SourceError[] = []
  for (const given of paths) {
    const look = await lookAt(given)
    problems.push(...look.problems)
    for (const file of look.files) if (!files.has(file.realPath)) files.set(file.realPath, file)
  }
  return { files: [...files.values()], problems }
}

/** Whether all of them are files by name: nothing can be added to them. */
export async function areNamed(paths: readonly string[]): Promise<boolean> {
  for (const given of paths) {
    const stats = await stat(resolve(given)).catch(() => null)
    if (stats === null ? PATTERN.test(given) : stats.isDirectory()) return false
  }
  return true
}

async function lookAt(given: string): Promise<Look> {
  const path = resolve(given)
  try {
    const stats = await stat(path)
    if (stats.isDirectory()) return await lookIntoDirectory(path)
    if (given.endsWith(sep)) {
      const message = `${shownPath(path)} is a file and no directory: leave the '${sep}' behind it out.`
      throw new SourceError('FILE_IS_NO_DIRECTORY', message)
    }
    checkRegular(path, stats)
    await access(path, constants.R_OK)
    return { files: [inputPath(path, await realpath(path), stats, true)], problems: [] }
  } catch (error) {
    // A file may be called a[1].csv: a pattern is what no file is called.
    if (isMissing(error) && PATTERN.test(given)) return lookForPattern(path)
    throw fileError(path, error)
  }
}

async function lookIntoDirectory(path: string): Promise<Look> {
  const [entries, realDirectory] = await Promise.all([readdir(path, { withFileTypes: true }), realpath(path)])
  const found: Promise<InputPath | SourceError | null>[] = []
  for (const entry of entries.sort((a, b) => byText(a.name, b.name))) {
    if (entry.isDirectory() || isPassedOver(entry.name)) continue
    const real = entry.isFile() ? join(realDirectory, entry.name) : null
    found.push(lookAtFound(join(path, entry.name), real))
  }
  return sortedOut(await Promise.all(found))
}

async function lookForPattern(pattern: string): Promise<Look> {
  const paths: string[] = []
  for await (const path of glob(pattern)) paths.push(resolve(path))
  const names = paths.sort(byText).filter((path) => !isPassedOver(path.slice(path.lastIndexOf(sep) + 1)))
  return sortedOut(await Promise.all(names.map((path) => lookAtFound(path, null))))
}

function sortedOut(found: readonly (InputPath | SourceError | null)[]): Look {
  const files: InputPath[] = []
  const problems: SourceError[] = []
  for (const one of found) {
    if (one instanceof SourceError) problems.push(one)
    else if (one !== null) files.push(one)
  }
  return { files, problems }
}

/** null: it is a directory, or gone since. */
async function lookAtFound(path: string, real: string | null): Promise<InputPath | SourceError | null> {
  try {
    const stats = await stat(path)
    if (stats.isDirectory()) return null
    checkRegular(path, stats)
    return inputPath(path, real ?? (await realpath(path)), stats, false)
  } catch (error) {
    return isMissing(error) ? null : (fileError(path, error) as SourceError)
  }
}

/** What is hidden, or by its name still being written: it is read when it is renamed into place. */
function isPassedOver(name: string): boolean {
  return /^[._]|(~|\.tmp|\.part|\.partial|\.crdownload|\.swp)$/i.test(name)
}

function checkRegular(path: string, stats: Stats): void {
  if (stats.isFile()) return
  throw new SourceError(
    'FILE_UNREADABLE',
    `${shownPath(path)} is not a regular file: write its content to one first, or pipe it in with --input -.`,
  )
}

function inputPath(path: string, realPath: string, stats: Stats, isNamed: boolean): InputPath {
  const { size, mtimeMs, ctimeMs, ino } = stats
  const version = `${size} ${mtimeMs} ${ctimeMs} ${ino}`
  return { path, realPath, isNamed, size, modifiedMs: mtimeMs, inode: ino, version }
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

/** A path on one line, and without what would move a terminal's cursor. */
export function shownPath(path: string): string {
  return path.replaceAll(CONTROL, (character) => {
    const [escape] = /\\[nrt]/.exec(JSON.stringify(character)) ?? []
    return escape ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** What the operating system says about a file, in our words; errors of ours are handed back. */
export function fileError(path: string, error: unknown): Error {
  if (error instanceof SourceError) return error
  const shown = shownPath(path)
  if (isMissing(error)) {
    return new SourceError('FILE_MISSING', `${shown} does not exist: check the path.`, { cause: error })
  }
  const { code, message } = error as NodeJS.ErrnoException
  const advice = ADVICE[code ?? ''] ?? 'check the disk and the path.'
  return new SourceError('FILE_UNREADABLE', `${shown} cannot be read (${shownPath(message)}): ${advice}`, {
    cause: error,
  })
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'allow this user to read it.',
  EPERM: 'allow this user to read it.',
  ELOOP: 'its symbolic links lead back to themselves; give the file itself.',
}
