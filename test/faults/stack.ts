import {
  freePorts,
  startKafka,
  startRedis,
  startSentinel,
  startToxiproxy,
  type Broker,
  type Proxy,
  type RedisNode,
} from '../../deploy/stack/servers.ts'
import { redisCli } from '../../deploy/stack/redis.ts'
import { until } from '../../deploy/stack/wait.ts'

/** A broker that is killed is missed after this long: by default after 9 s. */
const BROKER_SESSION_MS = 4_000
/**
 * When a broker that is alone may come back after it was killed. Kafka 4.3.1 takes partitions without a leader for
 * deleted ones, and skips their markers when it ends a transaction (TransactionMarkerChannelManager: "Couldn't find
 * leader endpoint … likely deleted already and hence can be skipped"): a broker that is back before it was missed
 * loses its leadership while it ends what was open, and leaves it committed in part (docs/exactly-once.md).
 */
export const MISSED_MS = BROKER_SESSION_MS + 2_000

/** Servers of one stage, with a proxy wherever one can stand between. */
export interface Stack {
  /** How the roles reach it. */
  readonly env: Readonly<Record<string, string>>
  /** How the verifier reaches it, past the proxies. */
  readonly brokers: readonly string[]
  readonly kafka: readonly Broker[]
  readonly kafkaProxies: readonly Proxy[]
  readonly redis: readonly RedisNode[]
  /** Empty with Sentinel, which tells its clients where the servers are. */
  readonly redisProxies: readonly Proxy[]
  readonly hasSentinel: boolean
  stop(): Promise<void>
}

export interface StackOptions {
  readonly brokers: 1 | 3
  readonly hasSentinel: boolean
}

/** @throws StackError where a server is missing or does not start */
export async function startStack({ brokers, hasSentinel }: StackOptions): Promise<Stack> {
  const started: { stop(): Promise<void> }[] = []
  const keep = <T extends { stop(): Promise<void> }>(server: T): T => {
    started.push(server)
    return server
  }
  const stop = async (): Promise<void> => {
    for (const server of started.reverse()) await server.stop()
  }
  try {
    const toxiproxy = keep(await startToxiproxy())
    const ports = await freePorts(brokers)
    const settings = {
      'broker.session.timeout.ms': String(BROKER_SESSION_MS),
      'broker.heartbeat.interval.ms': '1000',
    }
    const hasOwnController = brokers === 1
    const kafka = keep(await startKafka({ brokers, advertisedPorts: ports, settings, hasOwnController }))
    const kafkaProxies = await Promise.all(
      kafka.brokers.map((broker, i) =>
        toxiproxy.proxy(`kafka-${broker.id}`, `127.0.0.1:${broker.port}`, ports[i]!),
      ),
    )
    // What it was told in the last second is lost with it: an older copy comes back.
    const persistence = { appendonly: 'yes', appendfsync: 'everysec' }
    const redis = keep(hasSentinel ? await startSentinel() : await startRedis({ settings: persistence }))
    const redisProxies = hasSentinel
      ? []
      : [await toxiproxy.proxy('redis', `127.0.0.1:${redis.nodes[0]!.port}`)]
    const redisUrl = hasSentinel ? redis.env.REDIS_URL : `redis://127.0.0.1:${redisProxies[0]!.port}`
    return {
      env: { KAFKA_BROKERS: kafka.env.KAFKA_BROKERS, REDIS_URL: redisUrl },
      brokers: kafka.internalBrokers,
      kafka: kafka.brokers,
      kafkaProxies,
      redis: redis.nodes,
      redisProxies,
      hasSentinel,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Which of the servers is master; there is one for certain only between two failovers. */
export async function masterOf(redis: readonly RedisNode[]): Promise<RedisNode> {
  let found: RedisNode | null = null
  const isThere = async (): Promise<boolean> => {
    const roles = await Promise.all(redis.map((node) => roleOf(node)))
    found = redis.find((_, i) => roles[i] === 'master') ?? null
    return roles.filter((role) => role === 'master').length === 1 && !roles.includes('none')
  }
  await until('one Redis is master, the others follow it', isThere, { timeoutMs: 60_000, everyMs: 250 })
  return found!
}

async function roleOf(node: RedisNode): Promise<string> {
  const said = await redisCli(['-p', String(node.port), 'info', 'replication']).catch(() => '')
  const role = /role:(\w+)/.exec(said)?.[1] ?? 'none'
  return role === 'slave' && !said.includes('master_link_status:up') ? 'none' : role
}
