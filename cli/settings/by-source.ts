/**
 * What `--input` and `--format` say of each source. `VALUE` is meant for the pipeline's one source; of several,
 * `SOURCE=VALUE` says which. A path may hold a `=` itself: what stands before the first one only counts as a source
 * where there is such a source, or where it can be nothing else.
 */
import { existsSync } from 'node:fs'
import { resolve, sep } from 'node:path'
import { CliError } from '../errors.ts'
import { nearest, suggestion } from '../nearest.ts'

export interface SourceNames {
  readonly pipeline: string
  /** Those that the bridge fills. */
  readonly own: readonly string[]
  /** The topics that others write, by the source that reads them: these take no input. */
  readonly foreign: ReadonlyMap<string, string>
}

const NAMED = /^([A-Za-z0-9_.-]+)=(.*)$/s

/**
 * The paths of each source that has some, in the order given.
 * @throws CliError BAD_USAGE when a path is nobody's, or nobody knows whose
 */
export function pathsBySource(given: readonly string[], names: SourceNames): Map<string, string[]> {
  const paths = new Map<string, string[]>()
  for (const value of given) {
    const [source, path] = ownerOf(value, names)
    paths.set(source, [...(paths.get(source) ?? []), path])
  }
  return paths
}

function ownerOf(value: string, { pipeline, own, foreign }: SourceNames): [source: string, path: string] {
  const [, name, path] = NAMED.exec(value) ?? []
  if (name !== undefined && path !== undefined) {
    if (own.includes(name)) {
      const isPath = own.length === 1 && existsSync(resolve(value)) && !existsSync(resolve(path))
      if (isPath) return [name, value]
      if (path !== '') return [name, path]
      throw new CliError('BAD_USAGE', `--input ${value} names no file: write it behind the '='.`)
    }
    checkNotForeign('--input', name, value, foreign)
    const isPath = existsSync(resolve(value.split(sep)[0]!))
    if (!isPath && (own.length > 1 || nearest(name, own) !== null || existsSync(resolve(path)))) {
      throw unknownSource('--input', name, value, own)
    }
  }
  const [only, ...others] = own
  if (only !== undefined && others.length === 0) return [only, value]
  const ways = own.map((source) => `--input ${source}=${value}`).join(' or ')
  throw new CliError(
    'BAD_USAGE',
    `--input ${value}: pipeline '${pipeline}' has several sources, and nothing says which one it is for. ` +
      `Write ${ways}.`,
  )
}

export interface Formats {
  /** Of every source that has none of its own; null: by each file's name and content. */
  readonly all: string | null
  readonly bySource: ReadonlyMap<string, string>
}

/** @throws CliError BAD_USAGE for a source that there is not, and for two formats of one */
export function formatsBySource(given: readonly string[], { own, foreign }: SourceNames): Formats {
  let all: string | null = null
  const bySource = new Map<string, string>()
  for (const value of given) {
    const [, name, format] = NAMED.exec(value) ?? []
    if (name === undefined || format === undefined) {
      all = oneFormat(all, value)
      continue
    }
    checkNotForeign('--format', name, value, foreign)
    if (!own.includes(name)) throw unknownSource('--format', name, value, own)
    bySource.set(name, oneFormat(bySource.get(name) ?? null, format))
  }
  return { all, bySource }
}

function oneFormat(before: string | null, format: string): string {
  if (before === null || before === format) return format
  throw new CliError(
    'BAD_USAGE',
    `--format says ${before} and ${format} of the same files. Files of several formats are known by name and ` +
      `content without it; of several sources, each has its own by --format SOURCE=FORMAT.`,
  )
}

function checkNotForeign(
  option: string,
  name: string,
  value: string,
  foreign: ReadonlyMap<string, string>,
): void {
  const topic = foreign.get(name)
  if (topic === undefined) return
  throw new CliError(
    'BAD_USAGE',
    `${option} ${value}: source '${name}' reads the topic '${topic}', which others write. Leave it out.`,
  )
}

function unknownSource(option: string, name: string, value: string, own: readonly string[]): CliError {
  const path = option === '--input' ? ` A path that begins like that is written ./${value}` : ''
  return new CliError(
    'BAD_USAGE',
    `${option} ${value}: there is no source '${name}'. ${suggestion(name, own)}${path}`,
  )
}
