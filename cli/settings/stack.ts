/** What Kafka, Redis and the schema registry are reached by, put together from single settings. */
import { CliError } from '../errors.ts'

export const SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

/** PEM texts; null: the system's authorities, no certificate of ours, the host's own name. */
export interface TlsSettings {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly serverName: string | null
}

export interface KafkaSettings {
  /** `host:port`, one or more. */
  readonly brokers: readonly string[]
  readonly sasl: {
    readonly mechanism: (typeof SASL_MECHANISMS)[number]
    readonly username: string
    readonly password: string
  } | null
  /** null: without. */
  readonly tls: TlsSettings | null
  readonly compression: (typeof COMPRESSIONS)[number]
  /** Without a heartbeat for so long a process has left its group. */
  readonly sessionTimeoutMs: number
}

export interface RedisSettings {
  /** With its credentials: for the client alone, which also knows the forms that it may have. */
  readonly url: string
  /** null: nothing beside what the URL says. */
  readonly tls: TlsSettings | null
  /** Begins all keys. */
  readonly keyPrefix: string
}

export interface RegistrySettings {
  /** Confluent's API, without a slash at the end. */
  readonly url: string
  readonly auth: { readonly username: string; readonly password: string } | null
}

export interface StackSettings {
  readonly kafka: KafkaSettings
  /** null: not given; who keeps state needs it. */
  readonly redis: RedisSettings | null
  /** null: schemas are kept in a topic of Kafka. */
  readonly registry: RegistrySettings | null
}

/** The single settings, as they were found; null: not given. */
export interface StackParts {
  readonly kafkaBrokers: readonly string[] | null
  readonly kafkaSaslMechanism: (typeof SASL_MECHANISMS)[number] | null
  readonly kafkaSaslUsername: string | null
  readonly kafkaSaslPassword: string | null
  readonly kafkaTlsEnabled: boolean | null
  readonly kafkaTlsCa: string | null
  readonly kafkaTlsCert: string | null
  readonly kafkaTlsKey: string | null
  readonly kafkaTlsServerName: string | null
  readonly kafkaCompression: (typeof COMPRESSIONS)[number]
  readonly kafkaSessionTimeoutMs: number
  readonly redisUrl: string | null
  readonly redisKeyPrefix: string
  readonly redisTlsCa: string | null
  readonly redisTlsCert: string | null
  readonly redisTlsKey: string | null
  readonly redisTlsServerName: string | null
  readonly schemaRegistryUrl: string | null
  readonly schemaRegistryUsername: string | null
  readonly schemaRegistryPassword: string | null
}

/** @throws CliError BAD_SETTING where the parts do not fit each other */
export function stackOf(parts: StackParts): StackSettings | null {
  const kafka = kafkaOf(parts)
  const redis = redisOf(parts)
  const registry = registryOf(parts)
  return kafka === null ? null : { kafka, redis, registry }
}

function kafkaOf(parts: StackParts): KafkaSettings | null {
  const { kafkaSaslMechanism: mechanism, kafkaSaslUsername: username, kafkaSaslPassword: password } = parts
  const given = [mechanism, username, password].filter((part) => part !== null)
  if (given.length !== 0 && given.length !== 3) {
    throw new CliError(
      'BAD_SETTING',
      'KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD belong together: give all three or none.',
    )
  }
  const tls = tlsOf('KAFKA_TLS', {
    ca: parts.kafkaTlsCa,
    cert: parts.kafkaTlsCert,
    key: parts.kafkaTlsKey,
    serverName: parts.kafkaTlsServerName,
  })
  if (tls !== null && parts.kafkaTlsEnabled === false) {
    throw new CliError(
      'BAD_SETTING',
      'KAFKA_TLS_ENABLED is false, and other KAFKA_TLS_… settings are given: leave out the one or the others.',
    )
  }
  if (parts.kafkaBrokers === null) return null
  return {
    brokers: parts.kafkaBrokers,
    sasl:
      mechanism === null || username === null || password === null ? null : { mechanism, username, password },
    tls: tls ?? (parts.kafkaTlsEnabled === true ? NO_FILES : null),
    compression: parts.kafkaCompression,
    sessionTimeoutMs: parts.kafkaSessionTimeoutMs,
  }
}

function redisOf(parts: StackParts): RedisSettings | null {
  const tls = tlsOf('REDIS_TLS', {
    ca: parts.redisTlsCa,
    cert: parts.redisTlsCert,
    key: parts.redisTlsKey,
    serverName: parts.redisTlsServerName,
  })
  const { redisUrl: url, redisKeyPrefix: keyPrefix } = parts
  if (url === null) return null
  if (tls !== null && !/^rediss/i.test(url)) {
    throw new CliError(
      'BAD_SETTING',
      'REDIS_TLS_… settings are given, and REDIS_URL is without TLS: begin it with rediss.',
    )
  }
  return { url, tls, keyPrefix }
}

function registryOf(parts: StackParts): RegistrySettings | null {
  const { schemaRegistryUrl: url, schemaRegistryUsername: username, schemaRegistryPassword: password } = parts
  if ((username === null) !== (password === null)) {
    throw new CliError(
      'BAD_SETTING',
      'SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD belong together: give both or none.',
    )
  }
  if (url === null) return null
  return { url, auth: username === null || password === null ? null : { username, password } }
}

const NO_FILES: TlsSettings = { ca: null, cert: null, key: null, serverName: null }

function tlsOf(prefix: string, tls: TlsSettings): TlsSettings | null {
  if ((tls.cert === null) !== (tls.key === null)) {
    throw new CliError('BAD_SETTING', `${prefix}_CERT and ${prefix}_KEY belong together: give both or none.`)
  }
  return Object.values(tls).every((part) => part === null) ? null : tls
}
