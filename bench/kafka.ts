/**
 * `npm run bench:kafka [-- --events 9000000 --keys 10000,100000 --commits 100,1000 --systems millrace,streams]`:
 * bench/windowed-totals.ts on Kafka and Redis, beside Kafka Streams, Java's own consumer and plain KafkaJS, on
 * the same broker, topic and bytes. The broker has one core, the system and its Redis another. Fails where the
 * outputs differ; never on a time.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Kafka, logLevel, type Admin } from 'kafkajs'
import { run as runToEnd } from '../deploy/stack/command.ts'
import { startKafka, startRedis, type KafkaServers, type RedisServers } from '../deploy/stack/servers.ts'
import { compileJava, type JavaPrograms } from './kafka/java.ts'
import { anonymousMiB, cpuSeconds, MeasuredProcess, pin, type ProcessSpec } from './kafka/measured-process.ts'

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '2000000' },
    keys: { type: 'string', default: '10000' },
    commits: { type: 'string', default: '1000' },
    systems: { type: 'string', default: 'millrace,streams,consumer,kafkajs' },
    partitions: { type: 'string', default: '8' },
  },
})
const events = Number(values.events)
const partitions = Number(values.partitions)
const systems = values.systems.split(',')

const BROKER_CORE = 0
const SYSTEM_CORE = Math.min(1, cpus().length - 1)
/** Of event time. */
const EVENTS_PER_SECOND = 2_500
const SAMPLE_MS = 100
/** Left out of the steady figures: start-up, compilation, empty caches. */
const WARM_UP = 0.1
const STALLED_MS = 180_000

interface Bench {
  readonly directory: string
  readonly kafka: KafkaServers
  readonly redis: RedisServers
  readonly admin: Admin
  readonly java: JavaPrograms
}

interface Cpu {
  readonly client: number
  readonly redis: number
  readonly broker: number
}

interface Figures {
  readonly system: string
  readonly events: number
  readonly wallSeconds: number
  readonly cpu: Cpu
  readonly steadyEvents: number
  readonly steadyWallSeconds: number
  readonly steadyCpu: Cpu
  readonly peakMiB: number
}

interface Totals {
  readonly updates: number
  readonly windows: number
  readonly count: number
  readonly sum: number
  readonly hash: string
}

interface Look {
  readonly atMs: number
  readonly done: number
  readonly cpu: Cpu
}

const bench = await open()
let failed = false
try {
  for (const keys of values.keys.split(',').map(Number)) {
    const topic = `events-${keys}`
    await load(topic, keys)
    const readers = [
      ...(systems.includes('consumer') ? [await readOnly('java consumer', consumerSpec(topic))] : []),
      ...(systems.includes('kafkajs') ? [await readOnly('plain kafkajs', plainSpec(topic))] : []),
    ]
    for (const commitMs of values.commits.split(',').map(Number)) {
      const results: { figures: Figures; totals: Totals }[] = []
      for (const system of ['streams', 'millrace']) {
        if (systems.includes(system)) results.push(await measure(system, topic, keys, commitMs))
      }
      print(keys, commitMs, [...results.map(({ figures }) => figures), ...readers])
      if (!areEqual(results.map(({ totals }) => totals))) failed = true
    }
  }
} finally {
  await close()
}
process.exitCode = failed ? 1 : 0

async function open(): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-kafka-'))
  const [java, kafka, redis] = [
    await compileJava(directory),
    await startKafka({ heapMb: 1024 }),
    await startRedis(),
  ]
  for (const { server } of kafka.brokers) pin(server.pid, BROKER_CORE)
  for (const { server } of redis.nodes) pin(server.pid, SYSTEM_CORE)
  pin(process.pid, BROKER_CORE)
  const client = new Kafka({ brokers: kafka.env.KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING })
  const admin = client.admin()
  await admin.connect()
  return { directory, kafka, redis, admin, java }
}

async function close(): Promise<void> {
  await bench.admin.disconnect()
  await bench.kafka.stop()
  await bench.redis.stop()
  rmSync(bench.directory, { recursive: true, force: true })
}

async function load(topic: string, keys: number): Promise<void> {
  await createTopic(topic)
  const { java, classPath } = bench.java
  const count = String(events)
  const args = [
    bench.kafka.env.KAFKA_BROKERS,
    topic,
    '0',
    count,
    String(keys),
    String(EVENTS_PER_SECOND),
    '0',
  ]
  await runToEnd(java, [...classPath, 'LoadEvents', ...args])
}

async function createTopic(topic: string): Promise<void> {
  // The records' times are those of now, but the fixtures must outlive any retention.
  const configEntries = [{ name: 'retention.ms', value: '-1' }]
  await bench.admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] })
}

function environment(
  system: string,
  topic: string,
  commitMs: number,
): Record<string, string> & { GROUP: string } {
  const group = `${system}-${topic}-${commitMs}`
  return {
    KAFKA_BROKERS: bench.kafka.env.KAFKA_BROKERS,
    REDIS_URL: bench.redis.env.REDIS_URL,
    TOPIC_IN: topic,
    TOPIC_OUT: `${group}-out`,
    GROUP: group,
    COMMIT_MS: String(commitMs),
    DATA_DIR: join(bench.directory, group),
  }
}

function specOf(system: string, env: Record<string, string>): ProcessSpec {
  const common = { env, core: SYSTEM_CORE, logFile: join(bench.directory, `${env['GROUP']!}.log`) }
  if (system === 'streams') {
    const { java, classPath } = bench.java
    return { ...common, program: java, args: ['-Xmx512m', '-Xmn256m', ...classPath, 'WindowedTotals'] }
  }
  const command = join(import.meta.dirname, '../cli/millrace.js')
  const file = join(import.meta.dirname, 'windowed-totals.ts')
  return { ...common, program: command, args: ['process', file] }
}

function consumerSpec(topic: string): ProcessSpec {
  const { java, classPath } = bench.java
  const args = [...classPath, 'ConsumeOnly', bench.kafka.env.KAFKA_BROKERS, topic, String(events)]
  return {
    program: java,
    args: ['-Xmx512m', '-Xmn256m', ...args],
    core: SYSTEM_CORE,
    logFile: join(bench.directory, 'consumer.log'),
  }
}

function plainSpec(topic: string): ProcessSpec {
  const file = join(import.meta.dirname, 'kafka/plain-consumer.ts')
  const args = [file, bench.kafka.env.KAFKA_BROKERS, topic, String(events)]
  return { program: process.execPath, args, core: SYSTEM_CORE, logFile: join(bench.directory, 'kafkajs.log') }
}

function cpuNow(pid: number): Cpu {
  return {
    client: cpuSeconds(pid),
    redis: cpuSeconds(bench.redis.nodes[0]!.server.pid),
    broker: cpuSeconds(bench.kafka.brokers[0]!.server.pid),
  }
}

/** Runs a system until it has committed all of the topic. */
async function measure(
  system: string,
  topic: string,
  keys: number,
  commitMs: number,
): Promise<{ figures: Figures; totals: Totals }> {
  const env = environment(system, topic, commitMs)
  await createTopic(env['TOPIC_OUT']!)
  const looks: Look[] = []
  const child = MeasuredProcess.start(specOf(system, env))
  const zero = { ...cpuNow(child.pid), client: 0 }
  const beganMs = performance.now()
  let peakMiB = 0
  let movedMs = beganMs
  // Streams' group is its application's id; the project's belongs to its role.
  const groupId = system === 'streams' ? env.GROUP : `${env.GROUP}.process`
  try {
    for (let done = 0; done < events;) {
      await sleep(SAMPLE_MS)
      if (child.hasExited) throw new Error(`${system} ended early; its log is ${specOf(system, env).logFile}`)
      const now = await committed(groupId, topic)
      const atMs = performance.now()
      if (now > done) movedMs = atMs
      if (atMs - movedMs > STALLED_MS)
        throw new Error(`${system} has stood at ${done} for ${STALLED_MS / 1e3} s`)
      done = now
      looks.push({ atMs, done, cpu: cpuNow(child.pid) })
      peakMiB = Math.max(peakMiB, anonymousMiB(child.pid))
    }
  } finally {
    await child.stop()
  }
  const { java, classPath } = bench.java
  const read = await runToEnd(java, [...classPath, 'ReadTotals', env['KAFKA_BROKERS']!, env['TOPIC_OUT']!])
  const totals = JSON.parse(read) as Totals
  const last = looks.at(-1)!
  const warm = looks.find(({ done }) => done >= events * WARM_UP) ?? last
  const figures = {
    system: `${system}, ${keys} keys, ${commitMs} ms`,
    events,
    wallSeconds: (last.atMs - beganMs) / 1e3,
    cpu: difference(last.cpu, zero),
    steadyEvents: last.done - warm.done,
    steadyWallSeconds: (last.atMs - warm.atMs) / 1e3,
    steadyCpu: difference(last.cpu, warm.cpu),
    peakMiB,
  }
  return { figures, totals }
}

/** Runs a program that reads the topic and ends. */
async function readOnly(system: string, spec: ProcessSpec): Promise<Figures> {
  const beganMs = performance.now()
  const child = MeasuredProcess.start(spec)
  let cpu: Cpu = { client: 0, redis: 0, broker: 0 }
  const zero = { ...cpuNow(child.pid), client: 0 }
  let peakMiB = 0
  while (!child.hasExited) {
    try {
      cpu = difference(cpuNow(child.pid), zero)
      peakMiB = Math.max(peakMiB, anonymousMiB(child.pid))
    } catch (error) {
      // It has just ended.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    await sleep(20)
  }
  if (child.exitCode !== 0) throw new Error(`${system} failed; its log is ${spec.logFile}`)
  const wallSeconds = (performance.now() - beganMs) / 1e3
  return { system, events, wallSeconds, cpu, steadyEvents: 0, steadyWallSeconds: 0, steadyCpu: cpu, peakMiB }
}

function difference(a: Cpu, b: Cpu): Cpu {
  return { client: a.client - b.client, redis: a.redis - b.redis, broker: a.broker - b.broker }
}

async function committed(groupId: string, topic: string): Promise<number> {
  const groups = await bench.admin.fetchOffsets({ groupId, topics: [topic] }).catch(() => [])
  let sum = 0
  for (const { offset } of groups[0]?.partitions ?? []) sum += Math.max(0, Number(offset))
  return sum
}

function areEqual(all: readonly Totals[]): boolean {
  for (const { updates, windows, count, sum, hash } of all) {
    console.log(`  output: ${windows} windows, ${count} events, sum ${sum}, hash ${hash}, ${updates} updates`)
  }
  const isComplete = all.every(({ count }) => count === events)
  const isEqual = new Set(all.map(({ hash }) => hash)).size <= 1
  console.log(
    isComplete && isEqual ? '  outputs are equal, and complete' : '  OUTPUTS DIFFER, or lack events',
  )
  return isComplete && isEqual
}

function print(keys: number, commitMs: number, all: readonly Figures[]): void {
  console.log(`\n${events} events, ${keys} keys, ${partitions} partitions, a commit every ${commitMs} ms`)
  const peer = all.find(({ system }) => system.startsWith('streams'))
  const perMillion = (seconds: number, count: number): string =>
    count === 0 ? '-' : ((seconds * 1e6) / count).toFixed(2)
  const rows = all.map((figures) => {
    const { cpu, steadyCpu, steadyEvents, steadyWallSeconds, wallSeconds } = figures
    const ratio = (own: number, other: number | undefined): string =>
      other === undefined || other === 0 || own === 0 ? '-' : (own / other).toFixed(2)
    const steady = (steadyCpu.client + steadyCpu.redis) / Math.max(1, steadyEvents)
    const peerSteady = peer && (peer.steadyCpu.client + peer.steadyCpu.redis) / peer.steadyEvents
    return {
      system: figures.system,
      'events/s': Math.round(events / wallSeconds),
      'client CPU-s/M': perMillion(cpu.client, events),
      'redis CPU-s/M': perMillion(cpu.redis, events),
      'broker CPU-s/M': perMillion(cpu.broker, events),
      'steady events/s': steadyEvents === 0 ? '-' : Math.round(steadyEvents / steadyWallSeconds),
      'steady client': perMillion(steadyCpu.client, steadyEvents),
      'steady redis': perMillion(steadyCpu.redis, steadyEvents),
      'of Streams': steadyEvents === 0 ? '-' : ratio(steady, peerSteady),
      'peak MiB': Math.round(figures.peakMiB),
    }
  })
  console.table(rows)
}
