import { closest, distance } from 'fastest-levenshtein'
import { SourceError } from '../errors.ts'
import { openBytes } from '../files/byte-input.ts'
import { shownPath, type InputPath } from '../files/paths.ts'
import type { Format } from './format.ts'
import { ndjson } from './ndjson.ts'

/** Each is loaded when it is asked for: their libraries cost a start more than most need. */
const FORMATS: Readonly<Record<string, () => Promise<Format>>> = {
  ndjson: async () => ndjson,
  json: async () => (await import('./json.ts')).json,
  csv: async () => (await import('./csv.ts')).csv,
  parquet: async () => (await import('./parquet.ts')).parquet,
  avro: async () => (await import('./avro.ts')).avroFile,
  'online-retail': async () => (await import('./online-retail.ts')).onlineRetail,
}

const NAMES_BY_EXTENSION: Readonly<Record<string, string>> = {
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  csv: 'csv',
  tsv: 'csv',
  parquet: 'parquet',
  pq: 'parquet',
  avro: 'avro',
}

/** A pipeline's own formats, by name; they win over ours. */
export type OwnFormats = Readonly<Record<string, Format>>

/** @throws SourceError UNKNOWN_FORMAT, with the nearest name */
export function checkFormatName(name: string, own: OwnFormats = {}): void {
  const names = [...Object.keys(own), ...Object.keys(FORMATS)]
  if (names.includes(name)) return
  const near = closest(name.toLowerCase(), names)
  const meant = distance(name.toLowerCase(), near) <= near.length / 2 ? ` Did you mean '${near}'?` : ''
  throw new SourceError(
    'UNKNOWN_FORMAT',
    `there is no format '${name}'.${meant} There are: ${names.join(', ')}.`,
  )
}

export async function formatNamed(name: string, own: OwnFormats = {}): Promise<Format> {
  checkFormatName(name, own)
  const ours = own[name]
  return ours === undefined ? await FORMATS[name]!() : { ...ours, name }
}

const HEAD_BYTES = 64 << 10

/**
 * The format of a file by its extension (one of compression left out), else by how its content begins, else
 * NDJSON if it was named itself.
 * @throws SourceError FILE_FORMAT for one of a directory or pattern of which nothing says what it is
 */
export async function formatOf({ path, isNamed }: InputPath): Promise<Format> {
  const extension = /\.([^./]+)$/.exec(path.toLowerCase().replace(/\.gz$/, ''))?.[1] ?? ''
  const name = NAMES_BY_EXTENSION[extension] ?? nameByContent(await headOf(path), extension)
  if (name === null && !isNamed) {
    throw new SourceError(
      'FILE_FORMAT',
      `${shownPath(path)} is left alone: neither its name nor its content says what it is. --format says it.`,
    )
  }
  return formatNamed(name ?? 'ndjson')
}

function nameByContent(head: Buffer, extension: string): string | null {
  if (head.toString('latin1', 0, 4) === 'PAR1') return 'parquet'
  if (head.toString('latin1', 0, 4) === 'Obj\u0001') return 'avro'
  const text = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart()
  if (text.startsWith('[')) return 'json'
  if (!text.startsWith('{')) return extension === 'json' && text !== '' ? 'json' : null
  // One object a line, or objects over several lines.
  const [line, next] = text.split('\n', 2)
  try {
    JSON.parse(line!)
    return 'ndjson'
  } catch {
    return next === undefined || extension !== 'json' ? 'ndjson' : 'json'
  }
}

async function headOf(path: string): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES)
  const input = await openBytes(path, 0)
  try {
    let length = 0
    for (let bytes = -1; bytes !== 0 && length < head.length; length += bytes) {
      bytes = await input.read(head, length, head.length - length)
    }
    return head.subarray(0, length)
  } finally {
    await input.close()
  }
}
