/** The servers that all systems are measured on, and what is read off them. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Kafka, logLevel, type Admin } from 'kafkajs'
import { run } from '../../deploy/stack/command.ts'
import { until } from '../../deploy/stack/wait.ts'
import { startKafka, startRedis, type KafkaServers, type RedisServers } from '../../deploy/stack/servers.ts'
import { compileJava, type JavaPrograms } from './java.ts'
import { cpuSeconds, pin } from './measured-process.ts'

export const BROKER_CORE = 0
/** The system's, and its Redis'. */
export const SYSTEM_CORE = Math.min(1, cpus().length - 1)

/** CPU time, seconds. */
export interface Cpu {
  readonly client: number
  readonly redis: number
  readonly broker: number
}

export interface LoadOptions {
  readonly topic: string
  readonly partitions: number
  readonly events: number
  readonly keys: number
  /** Of event time. A window is 300 s. */
  readonly eventsPerSecond: number
}

/** One broker on a core of its own and one Redis on the system's core. */
export class BenchServers {
  readonly directory: string
  readonly kafka: KafkaServers
  readonly redis: RedisServers
  readonly #admin: Admin
  readonly #java: JavaPrograms

  private constructor(
    directory: string,
    kafka: KafkaServers,
    redis: RedisServers,
    admin: Admin,
    java: JavaPrograms,
  ) {
    this.directory = directory
    this.kafka = kafka
    this.redis = redis
    this.#admin = admin
    this.#java = java
  }

  static async open(): Promise<BenchServers> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-kafka-'))
    const java = await compileJava(directory)
    const kafka = await startKafka({ heapMb: 1024, dir: join(directory, 'kafka') })
    const redis = await startRedis()
    const client = new Kafka({ brokers: kafka.env.KAFKA_BROKERS.split(','), logLevel: logLevel.NOTHING })
    const admin = client.admin()
    await admin.connect()
    const servers = new BenchServers(directory, kafka, redis, admin, java)
    servers.keepToCores(true)
    pin(process.pid, [BROKER_CORE])
    return servers
  }

  async close(): Promise<void> {
    await this.#admin.disconnect()
    await this.kafka.stop()
    await this.redis.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** @param apart false: the servers have all cores */
  keepToCores(apart: boolean): void {
    const all = cpus().map((_, core) => core)
    for (const { server } of this.kafka.brokers) pin(server.pid, apart ? [BROKER_CORE] : all)
    for (const { server } of this.redis.nodes) pin(server.pid, apart ? [SYSTEM_CORE] : all)
  }

  /** A Java program of the bench, as a command line. */
  javaCommand(name: string, args: readonly string[], flags: readonly string[] = []): [string, string[]] {
    return [this.#java.java, [...flags, ...this.#java.classPath, name, ...args]]
  }

  /** Runs a Java program of the bench to its end. @returns what it printed */
  async runJava(name: string, args: readonly string[]): Promise<string> {
    return run(...this.javaCommand(name, args))
  }

  async createTopic(topic: string, partitions: number): Promise<void> {
    // The records' times are those of now, but the fixtures must outlive any retention.
    const configEntries = [{ name: 'retention.ms', value: '-1' }]
    await this.#admin.createTopics({
      waitForLeaders: false,
      topics: [{ topic, numPartitions: partitions, configEntries }],
    })
    await until(`${topic} has its leaders`, async () => {
      const offsets = await this.#admin.fetchTopicOffsets(topic).catch(() => [])
      return offsets.length === partitions
    })
  }

  /** Gives back the room of what was measured. */
  async deleteTopics(): Promise<void> {
    const topics = (await this.#admin.listTopics()).filter((topic) => !topic.startsWith('_'))
    if (topics.length > 0) await this.#admin.deleteTopics({ topics })
  }

  async load({ topic, partitions, events, keys, eventsPerSecond }: LoadOptions): Promise<void> {
    await this.createTopic(topic, partitions)
    const counts = ['0', events, keys, eventsPerSecond, '0'].map(String)
    await this.runJava('LoadEvents', [this.kafka.env.KAFKA_BROKERS, topic, ...counts])
  }

  /** How many of the topic's records a group has committed. */
  async committed(groupId: string, topic: string): Promise<number> {
    const groups = await this.#admin.fetchOffsets({ groupId, topics: [topic] }).catch(() => [])
    return (groups[0]?.partitions ?? []).reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0)
  }

  /** What the topics of one application take in the broker's files: `<name>-…` and `<name>.…`. */
  writtenBytes(name: string): number {
    const files = readdirSync(join(this.directory, 'kafka'), { recursive: true, withFileTypes: true })
    const isOurs = (topic: string): boolean => topic.startsWith(`${name}-`) || topic.startsWith(`${name}.`)
    return files
      .filter((file) => file.name.endsWith('.log') && isOurs(basename(file.parentPath)))
      .reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0)
  }

  /** @param pid the system's client, its children included */
  cpu(pid: number): Cpu {
    return {
      client: cpuSeconds(pid),
      redis: cpuSeconds(this.redis.nodes[0]!.server.pid),
      broker: cpuSeconds(this.kafka.brokers[0]!.server.pid),
    }
  }
}

export function cpuSince(before: Cpu, after: Cpu): Cpu {
  return {
    client: after.client - before.client,
    redis: after.redis - before.redis,
    broker: after.broker - before.broker,
  }
}
