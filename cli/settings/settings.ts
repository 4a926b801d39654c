/**
 * Where a setting comes from: flag, else environment, else `millrace.json` in the working directory, else its
 * default (design §4). Each setting stands here once, with all its names.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDurationMs } from '../../schemas/duration.ts'
import { CliError } from '../errors.ts'
import { suggestion } from '../nearest.ts'
import { alertsOf, emailAddresses, smtpUrl, webhookUrl, type AlertSettings } from './alerts.ts'
import { COMPRESSIONS, SASL_MECHANISMS, stackOf, type StackSettings } from './stack.ts'
import {
  brokers,
  cacheMib,
  commitIntervalMs,
  delimiterCharacter,
  durationMs,
  fileContent,
  formats,
  instanceId,
  oneOf,
  partitionCount,
  paths,
  portNumber,
  positiveNumber,
  registryUrl,
  share,
  text,
  truth,
  wholeNumber,
  type Parse,
  type RawValue,
  sessionTimeoutMs,
} from './values.ts'

export type { KafkaSettings, RedisSettings, RegistrySettings, StackSettings } from './stack.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** What one run is made of. */
export interface Settings {
  /** null: everything is embedded, in the data directory. */
  readonly stack: StackSettings | null
  readonly dataDir: string
  /** Where the tables are; only on Kafka another place than the data directory. */
  readonly warehouse: string
  /** Source and internal partitions alike; null: as the log has them, else the default. */
  readonly partitions: number | null
  /** `FORMAT`, or `SOURCE=FORMAT`. Empty: by each file's name and content. */
  readonly format: readonly string[]
  /** `FILE`, or `SOURCE=FILE`. Empty: the generator. */
  readonly input: readonly string[]
  /** null: found from the header. */
  readonly csvDelimiter: string | null
  readonly exitWhenDone: boolean
  /** Orders (or the like) a minute of event time. */
  readonly rate: number
  /** null: it goes on for ever. */
  readonly count: number | null
  readonly badShare: number
  readonly seed: number
  readonly sinceMs: number
  /** null: the worker's own default. */
  readonly commitIntervalMs: number | null
  /** Of state that is kept in memory; null: the worker's own default. */
  readonly stateCacheMib: number | null
  /** Names this process among those of its role; null: a random one. */
  readonly instance: string | null
  /** Of /metrics, /healthz and /readyz; null: none, 0: any that is free. */
  readonly metricsPort: number | null
  /** What they are bound to. */
  readonly metricsHost: string
  readonly alerts: AlertSettings
}

export const DEFAULT_PARTITIONS = 4
export const DEFAULT_DATA_DIR = 'millrace-data'

interface Setting<T> {
  readonly flag: string | null
  readonly env: string | null
  /** In millrace.json. */
  readonly key: string | null
  readonly fallback: T
  readonly parse: Parse<T>
  readonly isSecret?: boolean
}

const SETTINGS = {
  dataDir: setting('--data-dir', 'MILLRACE_DATA_DIR', 'dataDir', DEFAULT_DATA_DIR, text),
  warehouse: optional('--warehouse', 'MILLRACE_WAREHOUSE', 'warehouse', text),
  partitions: optional('--partitions', 'MILLRACE_PARTITIONS', 'partitions', partitionCount),
  format: setting<readonly string[]>('--format', 'MILLRACE_FORMAT', 'format', [], formats),
  input: setting<readonly string[]>('--input', 'MILLRACE_INPUT', 'input', [], paths),
  csvDelimiter: optional('--csv-delimiter', 'MILLRACE_CSV_DELIMITER', 'csvDelimiter', delimiterCharacter),
  embedded: setting('--embedded', 'MILLRACE_EMBEDDED', 'embedded', false, truth),
  exitWhenDone: setting('--exit-when-done', null, null, false, truth),
  rate: setting('--rate', 'MILLRACE_RATE', 'rate', 500, positiveNumber),
  count: optional('--count', 'MILLRACE_COUNT', 'count', wholeNumber),
  badShare: setting('--bad-share', 'MILLRACE_BAD_SHARE', 'badShare', 0.01, share),
  seed: setting('--seed', 'MILLRACE_SEED', 'seed', 1, wholeNumber),
  since: setting('--since', 'MILLRACE_SINCE', 'since', parseDurationMs('1h'), durationMs),
  commitInterval: optional('--commit-interval', 'COMMIT_MS', 'commitMs', commitIntervalMs),
  stateCacheMib: optional(null, 'STATE_CACHE_MIB', 'stateCacheMib', cacheMib),
  instance: optional(null, 'MILLRACE_INSTANCE', 'instance', instanceId),
  metricsPort: optional('--metrics-port', 'METRICS_PORT', 'metricsPort', portNumber),
  metricsHost: setting('--metrics-host', 'METRICS_HOST', 'metricsHost', '127.0.0.1', text),

  alertWebhookUrl: secret('ALERT_WEBHOOK_URL', webhookUrl),
  smtpUrl: secret('SMTP_URL', smtpUrl),
  smtpTlsCa: optional(null, 'SMTP_TLS_CA', 'smtpTlsCa', fileContent),
  alertEmailFrom: optional(null, 'ALERT_EMAIL_FROM', 'alertEmailFrom', emailAddresses),
  alertEmailTo: optional(null, 'ALERT_EMAIL_TO', 'alertEmailTo', emailAddresses),
  alertMaxAge: setting(null, 'ALERT_MAX_AGE', 'alertMaxAge', parseDurationMs('1h'), durationMs),

  kafkaBrokers: optional(null, 'KAFKA_BROKERS', 'kafkaBrokers', brokers),
  kafkaSaslMechanism: optional(null, 'KAFKA_SASL_MECHANISM', 'kafkaSaslMechanism', oneOf(SASL_MECHANISMS)),
  kafkaSaslUsername: optional(null, 'KAFKA_SASL_USERNAME', 'kafkaSaslUsername', text),
  kafkaSaslPassword: secret('KAFKA_SASL_PASSWORD', text),
  kafkaTlsEnabled: optional(null, 'KAFKA_TLS_ENABLED', 'kafkaTlsEnabled', truth),
  kafkaTlsCa: optional(null, 'KAFKA_TLS_CA', 'kafkaTlsCa', fileContent),
  kafkaTlsCert: optional(null, 'KAFKA_TLS_CERT', 'kafkaTlsCert', fileContent),
  kafkaTlsKey: optional(null, 'KAFKA_TLS_KEY', 'kafkaTlsKey', fileContent),
  kafkaTlsServerName: optional(null, 'KAFKA_TLS_SERVER_NAME', 'kafkaTlsServerName', text),
  kafkaCompression: setting(null, 'KAFKA_COMPRESSION', 'kafkaCompression', 'lz4', oneOf(COMPRESSIONS)),
  kafkaSessionTimeoutMs: setting(
    null,
    'KAFKA_SESSION_TIMEOUT_MS',
    'kafkaSessionTimeoutMs',
    10_000,
    sessionTimeoutMs,
  ),
  redisUrl: secret('REDIS_URL', text),
  redisKeyPrefix: setting(null, 'REDIS_KEY_PREFIX', 'redisKeyPrefix', '', text),
  redisTlsCa: optional(null, 'REDIS_TLS_CA', 'redisTlsCa', fileContent),
  redisTlsCert: optional(null, 'REDIS_TLS_CERT', 'redisTlsCert', fileContent),
  redisTlsKey: optional(null, 'REDIS_TLS_KEY', 'redisTlsKey', fileContent),
  redisTlsServerName: optional(null, 'REDIS_TLS_SERVER_NAME', 'redisTlsServerName', text),
  schemaRegistryUrl: optional(null, 'SCHEMA_REGISTRY_URL', 'schemaRegistryUrl', registryUrl),
  schemaRegistryUsername: optional(null, 'SCHEMA_REGISTRY_USERNAME', 'schemaRegistryUsername', text),
  schemaRegistryPassword: secret('SCHEMA_REGISTRY_PASSWORD', text),
}

/** Every name that a setting goes by: flag, variable of the environment, key of the file. */
export function settingNames(): string[] {
  const all: readonly Setting<unknown>[] = Object.values(SETTINGS)
  return all.flatMap(({ flag, env, key }) => [flag, env, key].filter((name) => name !== null))
}

type Values = { readonly [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K]['fallback'] }

export interface SettingSources {
  /** By the option's attribute name, as commander gives them; absent: not given. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Env
  /** Where `millrace.json` is looked for. */
  readonly cwd: string
}

/** @throws CliError BAD_SETTING for a value that cannot be, and for values that do not fit each other */
export function resolveSettings({ flags, env, cwd }: SettingSources): Settings {
  const file = readSettingsFile(cwd)
  const given = new Set<string>()
  const values = Object.fromEntries(
    Object.entries(SETTINGS as Readonly<Record<string, Setting<unknown>>>).map(([name, setting]) => {
      const found = lookUp(name, setting, { flags, env, file })
      if (found === null) return [name, setting.fallback]
      given.add(name)
      const { where, value } = found
      return [name, setting.parse(value, { where, isSecret: setting.isSecret ?? false, cwd })]
    }),
  ) as unknown as Values
  const stack = stackOf(values)
  checkPlace(values, given)
  const { dataDir, since, commitInterval, warehouse } = values
  return {
    stack: values.embedded ? null : stack,
    dataDir,
    warehouse: warehouse ?? dataDir,
    partitions: values.partitions,
    format: values.format,
    input: values.input,
    csvDelimiter: values.csvDelimiter,
    exitWhenDone: values.exitWhenDone,
    rate: values.rate,
    count: values.count,
    badShare: values.badShare,
    seed: values.seed,
    sinceMs: since,
    commitIntervalMs: commitInterval,
    stateCacheMib: values.stateCacheMib,
    instance: values.instance,
    metricsPort: values.metricsPort,
    metricsHost: values.metricsHost,
    alerts: alertsOf(values),
  }
}

/** Where `millrace query` finds the tables: as a run with the same settings would have put them. */
export function tablesDirectory({ flags, env, cwd }: SettingSources): string {
  const file = readSettingsFile(cwd)
  const directoryOf = (name: 'dataDir' | 'warehouse'): string | null => {
    const found = lookUp(name, SETTINGS[name], { flags, env, file })
    return found === null ? null : text(found.value, { where: found.where, isSecret: false, cwd })
  }
  const named = flags['dataDir'] === undefined ? directoryOf('warehouse') : null
  return named ?? directoryOf('dataDir') ?? DEFAULT_DATA_DIR
}

/** What says where the data is must not point to two places. */
function checkPlace(
  { kafkaBrokers, embedded, dataDir, warehouse }: Values,
  given: ReadonlySet<string>,
): void {
  if (kafkaBrokers !== null && !embedded && given.has('dataDir')) {
    throw new CliError(
      'BAD_SETTING',
      `KAFKA_BROKERS (${kafkaBrokers.join(',')}) and a data directory (${dataDir}) are both given, so it is not ` +
        `clear which log to use. Add --embedded for the directory, or leave --data-dir out for Kafka (where ` +
        `--warehouse says where the tables are).`,
    )
  }
  if ((kafkaBrokers === null || embedded) && warehouse !== null) {
    throw new CliError(
      'BAD_SETTING',
      `--warehouse (${warehouse}) says where the tables of a pipeline on Kafka are; embedded they are in the data ` +
        `directory. Use --data-dir, or set KAFKA_BROKERS.`,
    )
  }
}

interface Places {
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Env
  readonly file: Readonly<Record<string, unknown>>
}

function lookUp(
  name: string,
  { flag, env: variable, key }: Setting<unknown>,
  { flags, env, file }: Places,
): { where: string; value: RawValue } | null {
  const candidates: (readonly [string, unknown])[] = [
    [flag ?? '', flag === null ? undefined : flags[name]],
    [`the environment's ${variable ?? ''}`, variable === null ? undefined : emptyAsUnset(env[variable])],
    [`millrace.json's "${key ?? ''}"`, key === null ? undefined : file[key]],
  ]
  for (const [where, value] of candidates) if (value !== undefined) return { where, value: value as RawValue }
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
    // The parser's own words quote the file, which may hold a password.
    const [position = ''] = / at position \d+/.exec((error as Error).message) ?? []
    throw new CliError('BAD_SETTING', `${path} is not JSON${position}.`)
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
  flag: string | null,
  env: string | null,
  key: string | null,
  fallback: T,
  parse: Parse<T>,
): Setting<T> {
  return { flag, env, key, fallback, parse }
}

/** One without a default. */
function optional<T>(flag: string | null, env: string, key: string, parse: Parse<T>): Setting<T | null> {
  return { flag, env, key, fallback: null, parse }
}

/** From the environment alone: what stands in a file is committed sooner or later, a flag shows in `ps`. */
function secret<T>(env: string, parse: Parse<T>): Setting<T | null> {
  return { flag: null, env, key: null, fallback: null, parse, isSecret: true }
}

function emptyAsUnset(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}
