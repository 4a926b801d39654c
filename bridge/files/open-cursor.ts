import type { Format } from '../adapters/format.ts'
import type { RecordSink } from '../reader.ts'
import { openBytes } from './byte-input.ts'
import type { Cursor, CursorLimits, CursorOptions } from './cursor.ts'
import { PrefixHash } from './prefix-hash.ts'
import { TextCursor } from './text-cursor.ts'

/** @throws SourceError when the file cannot be read, or is not in its format */
export async function openCursor(format: Format, options: CursorOptions): Promise<Cursor> {
  if (format.kind === 'container') return format.open(options)
  const input = await openBytes(options.path, options.prefix.length)
  return new TextCursor({ ...options, format, input })
}

/** Nothing is wanted of a beginning but that it is one. */
const NOBODY: RecordSink = { value: () => undefined, reject: () => undefined }

/**
 * Reads the beginning of a file: it refuses a file of another format, or without what the contract requires,
 * before anything is written.
 * @throws SourceError
 */
export async function checkBeginning(
  format: Format,
  options: Pick<CursorOptions, 'path' | 'fields' | 'csvDelimiter'> & { readonly limits: CursorLimits },
): Promise<void> {
  const start = { prefix: new PrefixHash(), lines: 0, state: null, fileTimeMs: 0 }
  const cursor = await openCursor(format, { ...options, ...start })
  try {
    // A container is judged when it is opened.
    if (format.kind === 'text') await cursor.read(NOBODY)
  } finally {
    await cursor.close()
  }
}
