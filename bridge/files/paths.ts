import { constants } from 'node:fs'
import { access, realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { SourceError } from '../errors.ts'

/** A file as it was asked for. */
export interface InputPath {
  /** As the user gave it, made absolute: what dead letters and messages name. */
  readonly path: string
  /** Without symbolic links: what positions are kept under, so that a file has one. */
  readonly realPath: string
  /** When the file was last changed, epoch ms. */
  readonly modifiedMs: number
}

/**
 * Looks at every path before anything is read; one that is given twice (by whatever name) is taken once,
 * in the place of its first mention.
 * @throws SourceError for the first that is missing, a directory or not readable
 */
export async function lookAtPaths(paths: readonly string[]): Promise<InputPath[]> {
  const found = new Map<string, InputPath>()
  for (const given of paths) {
    const input = await lookAt(resolve(given))
    if (!found.has(input.realPath)) found.set(input.realPath, input)
  }
  return [...found.values()]
}

async function lookAt(path: string): Promise<InputPath> {
  try {
    const [realPath, stats] = await Promise.all([realpath(path), stat(path)])
    if (stats.isDirectory()) {
      throw new SourceError(
        'FILE_IS_DIRECTORY',
        `${path} is a directory: name the files in it, such as ${path}/*.`,
      )
    }
    if (!stats.isFile()) {
      throw new SourceError(
        'FILE_UNREADABLE',
        `${path} is not a regular file: write its content to one first.`,
      )
    }
    await access(path, constants.R_OK)
    return { path, realPath, modifiedMs: stats.mtimeMs }
  } catch (error) {
    throw fileError(path, error)
  }
}

/** What the operating system says about a file, in our words; errors of ours are handed back. */
export function fileError(path: string, error: unknown): Error {
  if (error instanceof SourceError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new SourceError('FILE_MISSING', `${path} does not exist: check the path.`, { cause: error })
  }
  const advice =
    code === 'EACCES' || code === 'EPERM' ? 'allow this user to read it.' : 'check the disk and the path.'
  return new SourceError('FILE_UNREADABLE', `${path} cannot be read (${message}): ${advice}`, {
    cause: error,
  })
}
