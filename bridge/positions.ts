/**
 * The compacted topic `<application>.sources` (design §4): where each source stands. Keys and values are
 * JSON-like text and are made here only. A source's records lie in one partition, that of its name's hash,
 * so that whoever owns the partition owns the source.
 */
import type { TopicConfig } from '../log/port.ts'
import { partitionFor } from '../log/partitioner.ts'
import { SourceError } from './errors.ts'

/** A record of the positions topic, to be written in the transaction of what it speaks of. */
export interface StoredRecord {
  readonly key: string
  readonly value: string
}

/** What a source knows of itself, beside its reader's position. Times are epoch ms. */
export interface SourceRecord {
  /** Nothing with an earlier event time is outstanding (design §7). */
  readonly t: number | null
  /** The greatest valid event time since the last end mark; null: all that was read is closed by one. */
  readonly unclosedE: number | null
  /** A finite input was read to its end, and nothing has moved since. */
  readonly isEnded: boolean
  /** Since the source first ran. */
  readonly processed: number
  readonly invalid: number
  readonly behindWatermark: number
  readonly bytes: number
}

export const NEW_SOURCE: SourceRecord = {
  t: null,
  unclosedE: null,
  isEnded: false,
  processed: 0,
  invalid: 0,
  behindWatermark: 0,
  bytes: 0,
}

const SOURCE_NAME = /^[A-Za-z0-9_.-]+$/

export function sourcesTopic(application: string): string {
  return `${application}.sources`
}

export function deadLettersTopic(application: string): string {
  return `${application}.dead-letters`
}

/** How `<application>.sources` is to be created. */
export function sourcesTopicConfig(partitions: number): TopicConfig {
  return { partitions, cleanup: 'compact', retentionMs: -1 }
}

/** The partition of the positions topic that holds the source's records. */
export function partitionOfSource(name: string, partitions: number): number {
  return partitionFor(Buffer.from(name), partitions)
}

/** @throws SourceError BAD_SOURCE: a slash would make keys ambiguous */
export function checkSourceName(name: string): void {
  if (SOURCE_NAME.test(name)) return
  throw new SourceError('BAD_SOURCE', `source name '${name}': use letters, digits, '_', '-' and '.'.`)
}

export const keys = {
  /** Written by whoever takes the partition over; not of one source. */
  opened: 'opened',
  source: (source: string): string => `source/${source}`,
  files: (source: string): string => `file/${source}/`,
  file: (source: string, path: string): string => `file/${source}/${path}`,
  pipe: (source: string): string => `pipe/${source}`,
  generator: (source: string): string => `generator/${source}`,
}

export function encodeSourceRecord(source: string, record: SourceRecord): StoredRecord {
  return { key: keys.source(source), value: JSON.stringify(record) }
}

export function decodeSourceRecord(source: string, stored: ReadonlyMap<string, string>): SourceRecord {
  const key = keys.source(source)
  const value = stored.get(key)
  return value === undefined ? NEW_SOURCE : { ...NEW_SOURCE, ...parseStored<SourceRecord>(key, value) }
}

/** @throws SourceError BAD_POSITION_RECORD when it is no JSON object */
export function parseStored<T extends object>(key: string, value: string): T {
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch (error) {
    throw notOurs(key, error)
  }
  if (typeof parsed !== 'object' || parsed === null) throw notOurs(key)
  return parsed as T
}

function notOurs(key: string, cause?: unknown): SourceError {
  const message =
    `the position record '${key}' is not one that this version writes: the data directory (or topic) is of ` +
    `another version or damaged. Run with the version that wrote it, or start on a fresh one.`
  return new SourceError('BAD_POSITION_RECORD', message, { cause })
}
