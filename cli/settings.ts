/**
 * Where a setting comes from: flag, else environment, else `millrace.json` in the working directory, else its
 * default (design §4). Each setting stands here once, with all its names.
 */
import { readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { CliError } from './errors.ts'
import { suggestion } from './nearest.ts'
import { parseDurationMs } from '../schemas/duration.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** What one run is made of. */
export interface Settings {
  readonly dataDir: string
  /** Source and internal partitions alike; null: as the directory has them, else the default. */
  readonly partitions: number | null
  /** null: the generator, unless there is input. */
  readonly format: string | null
  readonly input: readonly string[]
  readonly embedded: boolean
  readonly exitWhenDone: boolean
  /** Orders (or the like) a minute of event time. */
  readonly rate: number
  /** null: it goes on for ever. */
  readonly count: number | null
  readonly badShare: number
  readonly seed: number
  readonly sinceMs: number
}

type RawValue = string | number | boolean | readonly string[]

export const DEFAULT_PARTITIONS = 4
export const DEFAULT_DATA_DIR = 'millrace-data'

interface Setting<T> {
  readonly env: string | null
  /** In millrace.json. */
  readonly key: string | null
  readonly flag: string
  readonly fallback: T
  parse(raw: RawValue, where: string): T
}

const SETTINGS = {
  dataDir: setting('--data-dir', 'MILLRACE_DATA_DIR', 'dataDir', DEFAULT_DATA_DIR, text),
  partitions: setting<number | null>(
    '--partitions',
    'MILLRACE_PARTITIONS',
    'partitions',
    null,
    partitionCount,
  ),
  format: setting<string | null>('--format', 'MILLRACE_FORMAT', 'format', null, text),
  input: setting<readonly string[]>('--input', 'MILLRACE_INPUT', 'input', [], paths),
  embedded: setting('--embedded', 'MILLRACE_EMBEDDED', 'embedded', false, truth),
  exitWhenDone: setting('--exit-when-done', null, null, false, truth),
  rate: setting('--rate', 'MILLRACE_RATE', 'rate', 500, positiveNumber),
  count: setting<number | null>('--count', 'MILLRACE_COUNT', 'count', null, wholeNumber),
  badShare: setting('--bad-share', 'MILLRACE_BAD_SHARE', 'badShare', 0.01, share),
  seed: setting('--seed', 'MILLRACE_SEED', 'seed', 1, wholeNumber),
  since: setting('--since', 'MILLRACE_SINCE', 'since', parseDurationMs('1h'), durationMs),
}

export interface SettingSources {
  /** By the option's attribute name, as commander gives them; absent: not given. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Env
  /** Where `millrace.json` is looked for. */
  readonly cwd: string
}

/** @throws CliError BAD_SETTING for a value that cannot be, NOT_SUPPORTED for Kafka */
export function resolveSettings({ flags, env, cwd }: SettingSources): Settings {
  const file = readSettingsFile(cwd)
  const given = new Set<string>()
  const take = <T>(
    name: keyof typeof SETTINGS,
    { flag, env: variable, key, fallback, parse }: Setting<T>,
  ): T => {
    const found = firstOf([
      [flag, flags[name]],
      [`the environment's ${variable ?? ''}`, variable === null ? undefined : emptyAsUnset(env[variable])],
      [`millrace.json's "${key ?? ''}"`, key === null ? undefined : file[key]],
    ])
    if (found === null) return fallback
    given.add(name)
    return parse(found.value as RawValue, found.where)
  }
  const { since, ...rest } = SETTINGS
  const settings: Settings = {
    dataDir: take('dataDir', rest.dataDir),
    partitions: take('partitions', rest.partitions),
    format: take('format', rest.format),
    input: take('input', rest.input),
    embedded: take('embedded', rest.embedded),
    exitWhenDone: take('exitWhenDone', rest.exitWhenDone),
    rate: take('rate', rest.rate),
    count: take('count', rest.count),
    badShare: take('badShare', rest.badShare),
    seed: take('seed', rest.seed),
    sinceMs: take('since', since),
  }
  refuseKafka(env, settings, given.has('dataDir'))
  return settings
}

function refuseKafka(env: Env, settings: Settings, dataDirGiven: boolean): void {
  const brokers = emptyAsUnset(env['KAFKA_BROKERS'])
  if (brokers === undefined || settings.embedded) return
  if (dataDirGiven) {
    throw new CliError(
      'BAD_SETTING',
      `KAFKA_BROKERS (${brokers}) and a data directory (${settings.dataDir}) are both given, so it is not clear ` +
        `which log to use. Add --embedded for the directory, or leave --data-dir out for Kafka.`,
    )
  }
  throw new CliError(
    'NOT_SUPPORTED',
    `KAFKA_BROKERS is set (${brokers}), and running on Kafka is not supported by this version yet. ` +
      `Add --embedded, or unset KAFKA_BROKERS, to run on local disk.`,
  )
}

function firstOf(
  candidates: readonly (readonly [string, unknown])[],
): { where: string; value: unknown } | null {
  for (const [where, value] of candidates) if (value !== undefined) return { where, value }
  return null
}

function readSettingsFile(cwd: string): Readonly<Record<string, unknown>> {
  const path = join(cwd, 'millrace.json')
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(content)
  } catch (error) {
    throw new CliError('BAD_SETTING', `${path} is not JSON: ${(error as Error).message}.`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new CliError('BAD_SETTING', `${path} must hold one JSON object, such as {"dataDir": "my-data"}.`)
  }
  const keys = Object.values(SETTINGS).flatMap(({ key }) => key ?? [])
  for (const key of Object.keys(parsed)) {
    if (keys.includes(key)) continue
    throw new CliError('BAD_SETTING', `${path} has an unknown setting '${key}'. ${suggestion(key, keys)}`)
  }
  return parsed as Record<string, unknown>
}

function setting<T>(
  flag: string,
  env: string | null,
  key: string | null,
  fallback: T,
  parse: (raw: RawValue, where: string) => T,
): Setting<T> {
  return { flag, env, key, fallback, parse }
}

function emptyAsUnset(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

function refuse(raw: RawValue, where: string, wanted: string): never {
  throw new CliError('BAD_SETTING', `${where} is ${JSON.stringify(raw)}: it must be ${wanted}.`)
}

function text(raw: RawValue, where: string): string {
  return typeof raw === 'string' && raw !== '' ? raw : refuse(raw, where, 'a text that is not empty')
}

function paths(raw: RawValue, where: string): readonly string[] {
  const list = typeof raw === 'string' ? raw.split(delimiter) : raw
  if (!Array.isArray(list) || list.some((path) => typeof path !== 'string' || path === '')) {
    return refuse(raw, where, 'a list of files')
  }
  return list as readonly string[]
}

function truth(raw: RawValue, where: string): boolean {
  if (typeof raw === 'boolean') return raw
  if (raw === 'true' || raw === '1') return true
  if (raw === 'false' || raw === '0') return false
  return refuse(raw, where, 'true or false')
}

/** Decimal digits only: `Number` would take '0x10', '1e3' and ' ' too. */
function numberOf(raw: RawValue): number {
  if (typeof raw === 'number') return raw
  return typeof raw === 'string' && /^\d+(\.\d+)?$/.test(raw) ? Number(raw) : NaN
}

function wholeNumber(raw: RawValue, where: string): number {
  const value = numberOf(raw)
  return Number.isSafeInteger(value) && value >= 0 ? value : refuse(raw, where, 'a whole number, 0 or more')
}

function positiveNumber(raw: RawValue, where: string): number {
  const value = numberOf(raw)
  return Number.isFinite(value) && value > 0 ? value : refuse(raw, where, 'a number above 0')
}

/** Kafka would take more; one machine gains nothing from it. */
const MAX_PARTITIONS = 256

function partitionCount(raw: RawValue, where: string): number {
  const value = numberOf(raw)
  return Number.isSafeInteger(value) && value >= 1 && value <= MAX_PARTITIONS
    ? value
    : refuse(raw, where, `a whole number from 1 to ${MAX_PARTITIONS}`)
}

function share(raw: RawValue, where: string): number {
  const value = numberOf(raw)
  return value >= 0 && value <= 1 ? value : refuse(raw, where, 'a share between 0 and 1, such as 0.02')
}

function durationMs(raw: RawValue, where: string): number {
  if (typeof raw !== 'string') return refuse(raw, where, "a duration such as '6h' or '30m'")
  try {
    return parseDurationMs(raw as Parameters<typeof parseDurationMs>[0])
  } catch {
    return refuse(raw, where, "a duration such as '6h' or '30m'")
  }
}
