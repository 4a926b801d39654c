/**
 * Real servers without containers: pinned versions in the user's cache, started on free ports, ended with the
 * process that started them.
 */
export { StackError } from './errors.ts'
export { chromiumProgram } from './chromium.ts'
export { startKafka, type Broker, type KafkaOptions, type KafkaServers } from './kafka.ts'
export {
  startRedis,
  startRedisCluster,
  startSentinel,
  type RedisNode,
  type RedisOptions,
  type RedisServers,
  type SentinelServers,
} from './redis.ts'
export { npmProgram, USERS_NODE, USERS_NPMS } from './npm.ts'
export { startRegistry, type RegistryServer } from './registry.ts'
export { startToxiproxy, type Proxy, type Toxic } from './toxiproxy.ts'
export { freePorts } from './ports.ts'
