import { closest, distance } from 'fastest-levenshtein'
import { SourceError } from '../errors.ts'
import type { Format } from './format.ts'
import { ndjson } from './ndjson.ts'
import { onlineRetail } from './online-retail.ts'

const formats: readonly Format[] = [ndjson, onlineRetail]

/** @throws SourceError UNKNOWN_FORMAT, with the nearest name */
export function formatNamed(name: string): Format {
  const format = formats.find((format) => format.name === name)
  if (format !== undefined) return format
  const names = formats.map((format) => format.name)
  const near = closest(name.toLowerCase(), names)
  const meant = distance(name.toLowerCase(), near) <= near.length / 2 ? ` Did you mean '${near}'?` : ''
  const list = formats.map(({ name, description }) => `${name} (${description})`).join(', ')
  throw new SourceError('UNKNOWN_FORMAT', `there is no format '${name}'.${meant} There are: ${list}.`)
}
