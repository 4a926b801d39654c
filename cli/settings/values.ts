/** What a setting's raw value has to look like; each gives the value or refuses it with what it may be. */
import { readFileSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { parseDurationMs } from '../../schemas/duration.ts'
import { CliError } from '../errors.ts'

export type RawValue = string | number | boolean | readonly string[] | Readonly<Record<string, unknown>>

/** Where a value came from, in the words of an error message, and how it may be shown there. */
export interface Origin {
  readonly where: string
  /** Never repeated in a message. */
  readonly isSecret: boolean
  /** Relative paths begin here. */
  readonly cwd: string
}

export type Parse<T> = (raw: RawValue, origin: Origin) => T

function refuse(raw: RawValue, { where, isSecret }: Origin, wanted: string): never {
  const given = isSecret ? 'not what it can be' : JSON.stringify(raw)
  throw new CliError('BAD_SETTING', `${where} is ${given}: it must be ${wanted}.`)
}

export const text: Parse<string> = (raw, origin) =>
  typeof raw === 'string' && raw !== '' ? raw : refuse(raw, origin, 'a text that is not empty')

export const paths: Parse<readonly string[]> = (raw, origin) =>
  listOf(raw, delimiter) ?? refuse(raw, origin, 'a list of files, or of SOURCE=FILE')

export const formats: Parse<readonly string[]> = (raw, origin) =>
  listOf(raw, ',') ?? refuse(raw, origin, 'the name of a format, or a list of SOURCE=FORMAT')

/** null: it is no list of texts that are not empty. */
function listOf(raw: RawValue, separator: string): string[] | null {
  const list = typeof raw === 'string' ? raw.split(separator) : Array.isArray(raw) ? raw : bySource(raw)
  return list.every((value) => typeof value === 'string' && value !== '') ? (list as string[]) : null
}

/** millrace.json may have `{"source": value or list}` for `SOURCE=value`. */
function bySource(raw: unknown): unknown[] {
  if (typeof raw !== 'object' || raw === null) return [null]
  return Object.entries(raw).flatMap(([source, value]) => {
    const values: unknown[] = Array.isArray(value) ? value : [value]
    return values.map((one) => (typeof one === 'string' && one !== '' ? `${source}=${one}` : null))
  })
}

/** One byte of UTF-8, and nothing that a value or a row begins or ends with. */
export const delimiterCharacter: Parse<string> = (raw, origin) => {
  const character = raw === 'tab' || raw === '\\t' ? '\t' : raw
  return typeof character === 'string' && /^[\t\u0020-\u007e]$/.test(character) && character !== '"'
    ? character
    : refuse(raw, origin, "one character, such as ';', or tab")
}

export const truth: Parse<boolean> = (raw, origin) => {
  if (typeof raw === 'boolean') return raw
  if (raw === 'true' || raw === '1') return true
  if (raw === 'false' || raw === '0') return false
  return refuse(raw, origin, 'true or false')
}

/** Decimal digits only: `Number` would take '0x10', '1e3' and ' ' too. */
function numberOf(raw: RawValue): number {
  if (typeof raw === 'number') return raw
  return typeof raw === 'string' && /^\d+(\.\d+)?$/.test(raw) ? Number(raw) : NaN
}

export const wholeNumber: Parse<number> = (raw, origin) => {
  const value = numberOf(raw)
  return Number.isSafeInteger(value) && value >= 0 ? value : refuse(raw, origin, 'a whole number, 0 or more')
}

export const positiveNumber: Parse<number> = (raw, origin) => {
  const value = numberOf(raw)
  return Number.isFinite(value) && value > 0 ? value : refuse(raw, origin, 'a number above 0')
}

function numberWithin(least: number, most: number): Parse<number> {
  return (raw, origin) => {
    const value = numberOf(raw)
    return Number.isSafeInteger(value) && value >= least && value <= most
      ? value
      : refuse(raw, origin, `a whole number from ${least} to ${most}`)
  }
}

/** Kafka would take more; one application gains nothing from it. */
const MAX_PARTITIONS = 256
export const partitionCount = numberWithin(1, MAX_PARTITIONS)

/** More on one machine would only wait for each other. */
export const processCount = numberWithin(1, 64)

/** Below, not even one commit's changes stay; above, a process is better split in two. */
export const cacheMib = numberWithin(1, 4_096)

/** Below, a pause of garbage collection counts as a death; above, a death goes unnoticed for long. */
export const sessionTimeoutMs = numberWithin(1_000, 300_000)

/** 0: any that is free. */
export const portNumber = numberWithin(0, 65_535)

export const share: Parse<number> = (raw, origin) => {
  const value = numberOf(raw)
  return value >= 0 && value <= 1 ? value : refuse(raw, origin, 'a share between 0 and 1, such as 0.02')
}

export const durationMs: Parse<number> = (raw, origin) => {
  if (typeof raw !== 'string') return refuse(raw, origin, "a duration such as '6h' or '30m'")
  try {
    return parseDurationMs(raw as Parameters<typeof parseDurationMs>[0])
  } catch {
    return refuse(raw, origin, "a duration such as '6h' or '30m'")
  }
}

const COMMIT_INTERVAL_MS = { least: 10, most: 60_000 }

/** A number of milliseconds, or a duration. */
export const commitIntervalMs: Parse<number> = (raw, origin) => {
  const { least, most } = COMMIT_INTERVAL_MS
  const isNumber = !Number.isNaN(numberOf(raw))
  let ms = NaN
  try {
    ms = isNumber ? numberOf(raw) : parseDurationMs(raw as Parameters<typeof parseDurationMs>[0])
  } catch {
    // Refused below.
  }
  return ms >= least && ms <= most
    ? Math.round(ms)
    : refuse(raw, origin, `milliseconds from ${least} to ${most}, or a duration such as '200ms' or '1s'`)
}

/** What Kafka allows in a transactional id without a thought about escaping, and a pod's name always is. */
export const instanceId: Parse<string> = (raw, origin) =>
  typeof raw === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(raw)
    ? raw
    : refuse(raw, origin, "1 to 128 letters, digits, '.', '_' and '-'")

/** A file's content, such as that of a certificate. */
export const fileContent: Parse<string> = (raw, origin) => {
  const path = resolve(origin.cwd, text(raw, origin))
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new CliError(
      'BAD_SETTING',
      `${origin.where} names ${path}, which cannot be read: ${(error as Error).message}.`,
    )
  }
}

/** `host:port,host:port`; the port may be left out. */
function nodesOf(list: string, defaultPort: number): { host: string; port: number }[] | null {
  const nodes = list.split(',').map((entry) => {
    const [, bracketed, plain, port] =
      /^(?:\[([0-9A-Fa-f:]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(entry.trim()) ?? []
    const host = bracketed ?? plain
    const number = port === undefined ? defaultPort : Number(port)
    return host === undefined || number < 1 || number > 65_535 ? null : { host, port: number }
  })
  return nodes.some((node) => node === null) ? null : (nodes as { host: string; port: number }[])
}

const KAFKA_PORT = 9092

export const brokers: Parse<readonly string[]> = (raw, origin) => {
  const list = typeof raw === 'string' ? nodesOf(raw, KAFKA_PORT) : null
  // Somebody may have written credentials in front of a host.
  const shown = { ...origin, isSecret: origin.isSecret || (typeof raw === 'string' && raw.includes('@')) }
  if (list === null) return refuse(raw, shown, "brokers as 'host:port,host:port', without a scheme")
  return list.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
}

export function oneOf<T extends string>(choices: readonly T[]): Parse<T> {
  return (raw, origin) => {
    const value = typeof raw === 'string' ? choices.find((choice) => choice === raw.toLowerCase()) : undefined
    return value ?? refuse(raw, origin, `one of ${choices.join(', ')}`)
  }
}

/** Credentials belong in their own settings, where they are known for what they are. */
export const registryUrl: Parse<string> = (raw, origin) => {
  const url = typeof raw === 'string' ? URL.parse(raw) : null
  const isHttp = url !== null && (url.protocol === 'http:' || url.protocol === 'https:')
  if (!isHttp) return refuse(raw, { ...origin, isSecret: true }, 'an address as http://host:port')
  if (url.username !== '' || url.password !== '') {
    const wanted = 'without credentials: SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD take them'
    return refuse(raw, { ...origin, isSecret: true }, wanted)
  }
  return url.href.replace(/\/+$/, '')
}
