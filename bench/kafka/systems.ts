/** How each system is started on the same servers, topic and settings. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { summarise, type GcPauses } from './gc-pauses.ts'
import type { ProcessSpec } from './measured-process.ts'
import { SYSTEM_CORE, type BenchServers } from './servers.ts'

export type SystemName = 'millrace' | 'streams'

/** Tuned as its advocate would: beating it untuned would prove nothing. */
const JAVA_MEMORY = ['-Xmx512m', '-Xmn256m']

/** Where CPU profiles of the project go; none are made without it, since they cost a tenth. */
const PROFILE_DIR = process.env['BENCH_PROFILE_DIR']

export interface Job {
  readonly system: SystemName
  readonly topic: string
  readonly commitMs: number
  /** Sets it apart from others of the same system, topic and interval. */
  readonly variant?: string
  /** Default: the system's own core. */
  readonly cores?: readonly number[]
  /** After `millrace process bench/windowed-totals.ts`. */
  readonly args?: readonly string[]
  readonly onLine?: (line: string) => void
}

export interface StartedJob {
  /** Begins the names of its topics. */
  readonly name: string
  readonly spec: ProcessSpec
  readonly outTopic: string
  /** Whose committed offsets tell how far it is. */
  readonly groupId: string
  /** To be read when it has ended. */
  gcPauses(): GcPauses | null
}

export function specOf(servers: BenchServers, job: Job): StartedJob {
  const { system, topic, commitMs, variant = '', cores = [SYSTEM_CORE], args = [], onLine } = job
  const name = `${system}-${topic}-${commitMs}${variant}`
  const outTopic = `${name}-out`
  const gcFile = join(servers.directory, `${name}.gc`)
  const env = {
    KAFKA_BROKERS: servers.kafka.env.KAFKA_BROKERS,
    REDIS_URL: servers.redis.env.REDIS_URL,
    TOPIC_IN: topic,
    TOPIC_OUT: outTopic,
    GROUP: name,
    COMMIT_MS: String(commitMs),
    DATA_DIR: join(servers.directory, name),
  }
  const common = {
    cores,
    logFile: join(servers.directory, `${name}.log`),
    ...(onLine !== undefined && { onLine }),
  }
  if (system === 'streams') {
    const [program, line] = servers.javaCommand('WindowedTotals', [], [...JAVA_MEMORY, `-Xlog:gc:${gcFile}`])
    return {
      name,
      spec: { ...common, env, program, args: line },
      outTopic,
      groupId: name,
      gcPauses: () => javaPauses(gcFile),
    }
  }
  const profile = PROFILE_DIR === undefined ? '' : ` --cpu-prof --cpu-prof-dir=${PROFILE_DIR}`
  const preload = `--import ${new URL('gc-pauses.ts', import.meta.url).href}${profile}`
  return {
    name,
    spec: {
      ...common,
      env: { ...env, NODE_OPTIONS: preload, GC_FILE: gcFile },
      program: join(import.meta.dirname, '../../cli/millrace.js'),
      args: ['process', join(import.meta.dirname, '../windowed-totals.ts'), ...args],
    },
    outTopic,
    groupId: `${name}.process`,
    gcPauses: () => (existsSync(gcFile) ? (JSON.parse(readFileSync(gcFile, 'utf8')) as GcPauses) : null),
  }
}

/** Java's own consumer, alone. */
export function consumerSpec(servers: BenchServers, topic: string, events: number): ProcessSpec {
  const args = [servers.kafka.env.KAFKA_BROKERS, topic, String(events)]
  const [program, line] = servers.javaCommand('ConsumeOnly', args, JAVA_MEMORY)
  return { program, args: line, cores: [SYSTEM_CORE], logFile: join(servers.directory, 'consumer.log') }
}

/** KafkaJS as its documentation has it, into a Map. */
export function plainSpec(servers: BenchServers, topic: string, events: number): ProcessSpec {
  const file = join(import.meta.dirname, 'plain-consumer.ts')
  return {
    program: process.execPath,
    args: [file, servers.kafka.env.KAFKA_BROKERS, topic, String(events)],
    cores: [SYSTEM_CORE],
    logFile: join(servers.directory, 'kafkajs.log'),
  }
}

/** Of lines such as `[1.2s][info][gc] GC(3) Pause Young (Normal) (…) 200M->8M(512M) 4.183ms`. */
function javaPauses(file: string): GcPauses {
  const pauses = [...readFileSync(file, 'utf8').matchAll(/Pause .*?([\d.]+)ms$/gm)]
  return summarise(pauses.map(([, ms]) => Number(ms)))
}
