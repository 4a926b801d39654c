import type { Clock } from '../../config/clock.ts'
import { openKafkaLog, type KafkaLogOptions } from '../../log/kafkajs/kafka-log.ts'
import { parseRedisUrl } from '../../processor/state/redis/address.ts'
import { RedisState } from '../../processor/state/redis/redis-state.ts'
import { ConfluentRegistry } from '../../schemas/registry/confluent.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { TopicRegistryStore } from '../registry-store.ts'
import type { KafkaSettings, StackSettings } from '../settings/settings.ts'
import type { TlsSettings } from '../settings/stack.ts'
import type { Stores } from './stores.ts'

export interface StackStoresOptions {
  readonly stack: StackSettings
  readonly clientId: string
  readonly clock: Clock
  readonly notice: (message: string) => void
  readonly signal: AbortSignal
}

/**
 * The log on Kafka, the state in Redis, the schemas in their registry, or without one in a topic.
 * @throws LogError, StateError and RegistryError where a server cannot be used
 */
export async function openStackStores(options: StackStoresOptions): Promise<Stores> {
  const { stack, clientId, clock, notice, signal } = options
  const { redis } = stack
  const log = await openKafkaLog({ ...connectionTo(stack.kafka), clientId, clock, report: notice, signal })
  const schemas =
    stack.registry === null
      ? new EmbeddedRegistry(new TopicRegistryStore(log))
      : new ConfluentRegistry({
          url: stack.registry.url,
          ...(stack.registry.auth && { auth: stack.registry.auth }),
          clock,
          report: notice,
          signal,
        })
  let state: RedisState | null = null
  return {
    log,
    registry: schemas,
    logDescription: `${stack.kafka.brokers.join(',')} (Kafka`,
    stateDescription: redis === null ? '' : `${parseRedisUrl(redis.url).text} (Redis)`,
    openState: async (application) => {
      // checkStack has seen to it.
      const { url, tls, keyPrefix } = redis!
      state = await RedisState.open({
        url,
        ...(tls && { tls: tlsOf(tls) }),
        keyPrefix,
        application,
        clock,
        report: notice,
      })
      return state
    },
    close: async () => {
      await state?.close()
      await log.close()
    },
  }
}

type Connection = Pick<KafkaLogOptions, 'brokers' | 'ssl' | 'sasl' | 'compression' | 'sessionTimeoutMs'>

export function connectionTo(settings: KafkaSettings): Connection {
  const { brokers, sasl, tls, compression, sessionTimeoutMs } = settings
  return { brokers, compression, sessionTimeoutMs, ...(tls && { ssl: tlsOf(tls) }), ...(sasl && { sasl }) }
}

export function tlsOf({ ca, cert, key, serverName }: TlsSettings): Record<string, string> {
  return {
    ...(ca !== null && { ca }),
    ...(cert !== null && { cert }),
    ...(key !== null && { key }),
    ...(serverName !== null && { servername: serverName }),
  }
}
