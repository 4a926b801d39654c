/** Fills a state, empties Redis, and watches it being restored. */
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../deploy/stack/servers.ts'
import { redisCli } from '../../deploy/stack/redis.ts'
import { MeasuredProcess } from './measured-process.ts'
import { cpuSince, type BenchServers, type Cpu } from './servers.ts'
import { specOf, type Job } from './systems.ts'
import { measure } from './throughput.ts'

const EVENTS = 5_000_000
const KEYS = 1_000_000
const PARTITIONS = 8
/** All of it in one window. */
const EVENTS_PER_SECOND = 20_000
const POLL_MS = 200
const LONGEST_MS = 300_000

export interface Restored {
  /** In the state. */
  readonly keys: number
  /** Of the changelogs. */
  readonly records: number
  readonly seconds: number
  readonly cpu: Cpu
  /** That the state takes. */
  readonly redisMiB: number
}

export async function restore(servers: BenchServers): Promise<Restored> {
  const topic = 'events-restore'
  await servers.load({
    topic,
    partitions: PARTITIONS,
    events: EVENTS,
    keys: KEYS,
    eventsPerSecond: EVENTS_PER_SECOND,
  })
  const [port] = await freePorts(1)
  const job: Job = { system: 'millrace', topic, commitMs: 1_000, args: ['--metrics-port', String(port)] }
  const { totals } = await measure(servers, job, { events: EVENTS, partitions: PARTITIONS })
  await redis(servers, 'flushall')
  const emptyMiB = await redisMiB(servers)
  const child = MeasuredProcess.start(specOf(servers, job).spec)
  try {
    const before = { ...servers.cpu(child.pid), client: 0 }
    const found = await watched(port!, PARTITIONS)
    const cpu = cpuSince(before, servers.cpu(child.pid))
    return { cpu, keys: totals.windows, ...found, redisMiB: (await redisMiB(servers)) - emptyMiB }
  } finally {
    await child.stop()
  }
}

/** From the first sight of a task that restores until none does. */
async function watched(port: number, tasks: number): Promise<{ records: number; seconds: number }> {
  const deadlineMs = performance.now() + LONGEST_MS
  let beganMs: number | null = null
  while (performance.now() < deadlineMs) {
    const text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    )
    const value = (name: string): number =>
      Number(new RegExp(`^${name}(?:{[^}]*})? (\\d+)`, 'm').exec(text)?.[1] ?? 0)
    if (beganMs === null && value('millrace_restoring_tasks') > 0) beganMs = performance.now()
    if (beganMs !== null && value('millrace_restore_duration_seconds_count') >= tasks) {
      return {
        records: value('millrace_restored_records_total'),
        seconds: (performance.now() - beganMs) / 1e3,
      }
    }
    await sleep(POLL_MS)
  }
  throw new Error(`the state was not restored within ${LONGEST_MS / 1e3} s`)
}

async function redisMiB(servers: BenchServers): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis(servers, 'info', 'memory'))![1]) / 1024 / 1024
}

async function redis(servers: BenchServers, ...command: readonly string[]): Promise<string> {
  return redisCli(['-p', String(servers.redis.nodes[0]!.port), ...command])
}
