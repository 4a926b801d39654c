/** Results as files. */
import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { CliError } from '../errors.ts'

export const FORMATS = ['csv', 'json', 'ndjson', 'parquet', 'html'] as const
export type Format = (typeof FORMATS)[number]

export interface OutputFile {
  readonly path: string
  readonly format: Format
}

/**
 * What `--output` means: a file, whose ending says the format, or a format alone, for a file named after the query
 * in the working directory.
 * @throws CliError BAD_USAGE for another ending
 */
export function outputOf(given: string, query: string, cwd: string): OutputFile {
  const named = FORMATS.find((format) => format === given)
  if (named !== undefined) return { path: resolve(cwd, `${query}.${named}`), format: named }
  const ending = extname(given).slice(1).toLowerCase()
  const format = FORMATS.find((candidate) => candidate === ending)
  if (format !== undefined) return { path: resolve(cwd, given), format }
  throw new CliError(
    'BAD_USAGE',
    `--output is "${given}": it must be a file that ends with .${FORMATS.join(', .')}, or one of these words alone.`,
  )
}

/** Writes a file whole or not at all: under another name first. @throws the operating system's errors */
export async function writeWhole(path: string, write: (draft: string) => Promise<void>): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  try {
    // What is wrong with the place is said by the system, before anything is made.
    closeSync(openSync(draft, 'w'))
    await write(draft)
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    if (error instanceof Error) error.message = error.message.replaceAll(draft, path)
    throw error
  }
}

export function textFile(text: string): (draft: string) => Promise<void> {
  return async (draft) => writeFileSync(draft, text)
}
