import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../bridge/generator/random.ts'
import type { Proxy, RedisNode, Toxic } from '../../deploy/stack/servers.ts'
import { redisCli } from '../../deploy/stack/redis.ts'
import { until } from '../../deploy/stack/wait.ts'
import type { Role } from './role.ts'
import { masterOf, MISSED_MS, type Stack } from './stack.ts'

/** What a fault works on. */
export interface Target {
  readonly stack: Stack
  readonly workers: readonly Role[]
  readonly bridge: Role
  readonly random: Random
  /** Aborts waits when the stage ends; what was broken is mended all the same. */
  readonly signal: AbortSignal
}

export interface Fault {
  readonly name: string
  /** Of one resource at a time: faults with the same one wait for each other. */
  readonly resource: 'worker' | 'bridge' | 'kafka' | 'kafka connection' | 'redis' | 'redis connection'
  /** A process is ended with SIGKILL. */
  readonly isKill: boolean
  /** How often compared with the others. */
  readonly weight: number
  /**
   * Breaks something, and mends it after a while.
   * @returns whether it met something to break
   */
  inject(target: Target): Promise<boolean>
}

/** Longer than the session and the transaction time-out together: whoever comes back is a zombie. */
const ZOMBIE_MS = 25_000

/** Faults that make sense on these servers. That of a protocol step is not here: a worker is started with it. */
export function faultsOn(stack: Stack): Fault[] {
  return [
    {
      name: 'worker killed at random',
      resource: 'worker',
      isKill: true,
      weight: 4,
      inject: ({ workers, random }) => withOne(workers, random, (worker) => worker.kill()),
    },
    {
      name: 'worker stopped for 25 s, resumed',
      resource: 'worker',
      isKill: false,
      weight: 1,
      inject: (target) => withOne(target.workers, target.random, (worker) => stopFor(worker, target)),
    },
    {
      name: 'worker leaves, another joins',
      resource: 'worker',
      isKill: false,
      weight: 3,
      // Whoever watches the workers starts it again.
      inject: ({ workers, random }) => withOne(workers, random, (worker) => worker.stop()),
    },
    {
      name: 'bridge killed',
      resource: 'bridge',
      isKill: true,
      weight: 1,
      inject: ({ bridge, random }) => withOne([bridge], random, (role) => role.kill()),
    },
    ...kafkaFaults(stack),
    ...(stack.hasSentinel ? sentinelFaults() : redisFaults()),
  ]
}

function kafkaFaults({ kafka }: Stack): Fault[] {
  const connection = (name: string, toxic: Toxic | null, ms: number): Fault => ({
    name: `connections to Kafka ${name}`,
    resource: 'kafka connection',
    isKill: false,
    weight: 1,
    inject: async ({ stack, random, signal }) => {
      await spoil(stack.kafkaProxies[random.below(stack.kafkaProxies.length)]!, toxic, ms, signal)
      return true
    },
  })
  return [
    {
      name: kafka.length === 1 ? 'broker killed' : 'one of three brokers killed',
      resource: 'kafka',
      isKill: true,
      weight: 1.5,
      inject: async ({ stack, random, signal }) => {
        const { server } = stack.kafka[random.below(stack.kafka.length)]!
        await server.kill()
        if (stack.kafka.length === 1) await sleep(MISSED_MS)
        await pause(random.unit() * 4_000, signal)
        await server.start()
        return true
      },
    },
    connection('cut', null, 3_000),
    connection('slow', { type: 'latency', attributes: { latency: 300, jitter: 200 } }, 6_000),
    connection('half-open', { type: 'timeout', attributes: { timeout: 0 } }, 12_000),
    connection('reset', { type: 'reset_peer', attributes: { timeout: 0 } }, 500),
  ]
}

function redisFaults(): Fault[] {
  const connection = (name: string, toxic: Toxic | null, ms: number): Fault => ({
    name: `connections to Redis ${name}`,
    resource: 'redis connection',
    isKill: false,
    weight: 1,
    inject: async ({ stack, signal }) => {
      await spoil(stack.redisProxies[0]!, toxic, ms, signal)
      return true
    },
  })
  return [
    {
      name: 'Redis killed, back with an older copy',
      resource: 'redis',
      isKill: true,
      weight: 1.5,
      inject: async ({ stack, random, signal }) => {
        const { server } = stack.redis[0]!
        await server.kill()
        await pause(random.unit() * 3_000, signal)
        await server.start()
        return true
      },
    },
    emptied(),
    connection('cut', null, 3_000),
    connection('slow', { type: 'latency', attributes: { latency: 200, jitter: 100 } }, 6_000),
    connection('half-open', { type: 'timeout', attributes: { timeout: 0 } }, 8_000),
  ]
}

function sentinelFaults(): Fault[] {
  return [
    {
      name: 'Sentinel fails over to an older copy',
      resource: 'redis',
      isKill: true,
      weight: 2,
      inject: async ({ stack, random, signal }) => {
        const master = await masterOf(stack.redis)
        const replica = stack.redis.find((node) => node !== master)!
        // Its copy stays behind from here on, and nothing that it would still read waits in a socket.
        await ask(replica, 'replicaof', '127.0.0.1', '1')
        await pause(500 + random.unit() * 2_000, signal)
        await master.server.kill()
        await until('the replica is master', async () =>
          (await ask(replica, 'info', 'replication').catch(() => '')).includes('role:master'),
        )
        await master.server.start()
        await masterOf(stack.redis)
        return true
      },
    },
    emptied(),
  ]
}

function emptied(): Fault {
  return {
    name: 'Redis emptied (FLUSHALL)',
    resource: 'redis',
    isKill: false,
    weight: 1.5,
    inject: async ({ stack }) => {
      await ask(await masterOf(stack.redis), 'flushall')
      return true
    },
  }
}

/** Past the proxies. */
async function ask({ port }: RedisNode, ...command: readonly string[]): Promise<string> {
  return redisCli(['-p', String(port), ...command])
}

async function withOne(
  roles: readonly Role[],
  random: Random,
  act: (role: Role) => Promise<void>,
): Promise<boolean> {
  const running = roles.filter(({ isRunning, isPaused }) => isRunning && !isPaused)
  if (running.length === 0) return false
  await act(running[random.below(running.length)]!)
  return true
}

async function stopFor(worker: Role, { signal }: Target): Promise<void> {
  worker.pause()
  await pause(ZOMBIE_MS, signal)
  worker.resume()
}

/** @param toxic null: cut */
async function spoil(proxy: Proxy, toxic: Toxic | null, ms: number, signal: AbortSignal): Promise<void> {
  if (toxic === null) {
    await proxy.cut()
  } else {
    // Both ways: requests that never arrive, and requests whose answers never do.
    await proxy.add(toxic, 'upstream')
    await proxy.add(toxic, 'downstream')
  }
  await pause(ms, signal)
  await proxy.mend()
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
