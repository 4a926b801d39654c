import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { makeCertificates, type Certificates } from './certificates.ts'
import { findJava, findProgram, run } from './command.ts'
import { freePorts } from './ports.ts'
import { ServerDirectory, ServerProcess } from './process.ts'

const POM = join(import.meta.dirname, 'kafka', 'pom.xml')
const JAVA = 17
const CONTROLLER_ID = 100
const SASL_MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']

/** What docker-compose.yml gives its broker too; a test holds the two together. */
export const KAFKA_SETTINGS = {
  // A transaction that a dead process left open holds its readers up until this sweep finds it.
  'transaction.abort.timed.out.transaction.cleanup.interval.ms': '1000',
  'group.initial.rebalance.delay.ms': '0',
  'group.min.session.timeout.ms': '1000',
  'auto.create.topics.enable': 'false',
  'offsets.topic.num.partitions': '8',
  'transaction.state.log.num.partitions': '8',
  // Changelogs of a few kilobytes are compacted while somebody watches.
  'log.cleaner.backoff.ms': '1000',
} as const

export interface KafkaOptions {
  /** Default 1. Three replicate everything, with two in-sync replicas at least. */
  readonly brokers?: 1 | 3
  /** Keeps the data there, also after the end; default a temporary directory. */
  readonly dir?: string
  /** Of the first broker's clients, the others follow it; default free ones. */
  readonly port?: number
  /** Broker settings beside {@link KAFKA_SETTINGS}, and over them. */
  readonly settings?: Readonly<Record<string, string>>
  /** The ports that clients are told, one a broker, where a proxy stands between; default the brokers' own. */
  readonly advertisedPorts?: readonly number[]
  /** Clients must log in, by PLAIN or SCRAM: passwords by user. */
  readonly sasl?: { readonly users: Readonly<Record<string, string>> }
  /** Clients must speak TLS. */
  readonly tls?: boolean
  /** Clients may do nothing without an ACL. */
  readonly acls?: boolean
  /** Of each broker. Default 512. */
  readonly heapMb?: number
  /**
   * The controller is a process of its own, so that it outlives brokers that are killed: it tells the others that
   * they are gone before they come back. Default: each broker is a controller too.
   */
  readonly hasOwnController?: boolean
}

export interface Broker {
  /** From 1. */
  readonly id: number
  /** For clients. */
  readonly port: number
  /** Plain text, without log-in, everything allowed: for set-up and verification. Never advertised elsewhere. */
  readonly internalPort: number
  readonly server: ServerProcess
}

export interface KafkaServers {
  readonly env: { readonly KAFKA_BROKERS: string }
  /** Every broker's {@link Broker.internalPort}. */
  readonly internalBrokers: readonly string[]
  readonly brokers: readonly Broker[]
  /** With `tls`. */
  readonly certificates: Certificates | null
  /** Ends the brokers, and removes a temporary directory. */
  stop(): Promise<void>
}

/**
 * The directory with Kafka's jars, got by Maven when it is first needed (130 MB).
 * @throws StackError without Maven, or where the download fails
 */
export async function kafkaJars(): Promise<string> {
  const version = /<kafka\.version>(.+)<\/kafka\.version>/.exec(await readFile(POM, 'utf8'))?.[1] ?? ''
  return cached(`kafka-${version}`, async (directory) => {
    const maven = findProgram('mvn', 'Kafka is got by Maven (`apt-get install maven`).')
    const target = `-DoutputDirectory=${directory}`
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1'
    await run(maven, ['-q', '-B', '-f', POM, `${plugin}:copy-dependencies`, target])
  })
}

/**
 * Starts one broker, or three that replicate, on KRaft.
 * @throws StackError where Java or Maven is missing, or a broker does not start
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServers> {
  const { brokers: count = 1, heapMb = 512, hasOwnController = false } = options
  const java = await findJava(JAVA)
  const classPath = join(await kafkaJars(), '*')
  const directory = await ServerDirectory.open('kafka', options.dir)
  const certificates = options.tls === true ? await makeCertificates(directory.path) : null
  const plan = await planBrokers(options, count)
  const controllerPort = hasOwnController ? (await freePorts(1))[0]! : null
  const clusterId = await clusterIdIn(directory.path)
  /** A process of the cluster, its storage formatted. */
  const prepare = async (name: string, properties: (own: string) => string, heap: number) => {
    const own = join(directory.path, name)
    await mkdir(own, { recursive: true })
    await writeFile(propertiesFile(own), properties(own))
    const format = ['kafka.tools.StorageTool', 'format', '--ignore-formatted']
    const flags = ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', classPath]
    const target = ['-t', clusterId, '-c', propertiesFile(own)]
    await run(java, [...flags, ...format, ...target, ...scramArguments(options)], { timeoutMs: 120_000 })
    return new ServerProcess({
      name: name.replace('broker', 'kafka'),
      program: java,
      args: [`-Xmx${heap}m`, '-XX:+UseG1GC', '-cp', classPath, 'kafka.Kafka', propertiesFile(own)],
      directory: directory.path,
      isReady: (log) => log.includes('Kafka Server started'),
      startMs: 120_000,
    })
  }
  const controller =
    controllerPort === null
      ? null
      : await prepare('controller', (own) => controllerProperties(options, controllerPort, own), 256)
  const brokers = await Promise.all(
    plan.map(async ({ port, internalPort }, index): Promise<Broker> => {
      const properties = (own: string): string =>
        propertiesOf(options, plan, controllerPort, index, own, certificates)
      return {
        id: index + 1,
        port,
        internalPort,
        server: await prepare(`broker-${index + 1}`, properties, heapMb),
      }
    }),
  )
  const stop = async (): Promise<void> => {
    await Promise.all(brokers.map(({ server }) => server.stop()))
    await controller?.stop()
    await directory.remove()
  }
  try {
    await controller?.start()
    for (const { server } of brokers) await server.launch()
    for (const { server } of brokers) await server.ready()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    env: { KAFKA_BROKERS: addresses(plan.map(({ advertisedPort }) => advertisedPort)).join(',') },
    internalBrokers: addresses(plan.map(({ internalPort }) => internalPort)),
    brokers,
    certificates,
    stop,
  }
}

interface BrokerPorts {
  readonly port: number
  readonly internalPort: number
  readonly controllerPort: number
  readonly advertisedPort: number
}

async function planBrokers({ port, advertisedPorts }: KafkaOptions, count: number): Promise<BrokerPorts[]> {
  const free = await freePorts(count * 3)
  return Array.from({ length: count }, (_, index) => {
    const own = port === undefined ? free[index * 3]! : port + index
    return {
      port: own,
      internalPort: free[index * 3 + 1]!,
      controllerPort: free[index * 3 + 2]!,
      advertisedPort: advertisedPorts?.[index] ?? own,
    }
  })
}

/** Stays with the directory: a broker refuses data of another cluster. */
async function clusterIdIn(directory: string): Promise<string> {
  const file = join(directory, 'cluster.id')
  const kept = await readFile(file, 'utf8').catch(() => null)
  if (kept !== null) return kept
  const id = randomBytes(16).toString('base64url')
  // An id that begins with a dash would be taken for an option.
  const safe = id.startsWith('-') ? `A${id.slice(1)}` : id
  await writeFile(file, safe)
  return safe
}

function propertiesFile(directory: string): string {
  return join(directory, 'server.properties')
}

function propertiesOf(
  options: KafkaOptions,
  plan: readonly BrokerPorts[],
  /** null: the brokers are controllers. */
  controllerPort: number | null,
  index: number,
  directory: string,
  certificates: Certificates | null,
): string {
  const own = plan[index]!
  const replicas = String(plan.length)
  const inSync = plan.length > 1 ? '2' : '1'
  const listener = (name: string, port: number): string => `${name}://127.0.0.1:${port}`
  const protocol = `${options.sasl === undefined ? '' : 'SASL_'}${options.tls === true ? 'SSL' : 'PLAINTEXT'}`
  const settings: Record<string, string> = {
    'process.roles': controllerPort === null ? 'broker,controller' : 'broker',
    'node.id': String(index + 1),
    'controller.quorum.voters':
      controllerPort === null
        ? plan.map((ports, i) => `${i + 1}@127.0.0.1:${ports.controllerPort}`).join()
        : controllerVoter(controllerPort),
    'controller.listener.names': 'CONTROLLER',
    listeners: [
      listener('CLIENT', own.port),
      listener('INTERNAL', own.internalPort),
      ...(controllerPort === null ? [listener('CONTROLLER', own.controllerPort)] : []),
    ].join(),
    'advertised.listeners': [
      listener('CLIENT', own.advertisedPort),
      listener('INTERNAL', own.internalPort),
    ].join(),
    'listener.security.protocol.map': `CLIENT:${protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    'inter.broker.listener.name': 'INTERNAL',
    'log.dirs': join(directory, 'data'),
    'default.replication.factor': replicas,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'min.insync.replicas': inSync,
    // Defaults for machines with many cores and disks.
    'num.network.threads': '2',
    'num.io.threads': '4',
    'log.cleaner.dedupe.buffer.size': '16777216',
    ...KAFKA_SETTINGS,
    ...securitySettings(options, certificates),
    ...options.settings,
  }
  return asProperties(settings)
}

function controllerProperties({ settings, acls }: KafkaOptions, port: number, directory: string): string {
  return asProperties({
    'process.roles': 'controller',
    'node.id': String(CONTROLLER_ID),
    'controller.quorum.voters': controllerVoter(port),
    'controller.listener.names': 'CONTROLLER',
    listeners: `CONTROLLER://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT',
    'log.dirs': join(directory, 'data'),
    ...(acls === true ? aclSettings() : {}),
    ...settings,
  })
}

function controllerVoter(port: number): string {
  return `${CONTROLLER_ID}@127.0.0.1:${port}`
}

function asProperties(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

function securitySettings(
  { sasl, acls }: KafkaOptions,
  certificates: Certificates | null,
): Record<string, string> {
  const settings: Record<string, string> = {}
  if (certificates !== null) {
    settings['listener.name.client.ssl.keystore.type'] = 'PEM'
    settings['listener.name.client.ssl.keystore.location'] = certificates.pairFile
    settings['listener.name.client.ssl.truststore.type'] = 'PEM'
    settings['listener.name.client.ssl.truststore.location'] = certificates.caFile
  }
  if (sasl !== undefined) {
    const users = Object.entries(sasl.users).map(([user, password]) => `user_${user}="${password}"`)
    settings['sasl.enabled.mechanisms'] = SASL_MECHANISMS.join()
    settings['listener.name.client.plain.sasl.jaas.config'] =
      `org.apache.kafka.common.security.plain.PlainLoginModule required ${users.join(' ')};`
    for (const mechanism of SASL_MECHANISMS.slice(1)) {
      settings[`listener.name.client.${mechanism.toLowerCase()}.sasl.jaas.config`] =
        'org.apache.kafka.common.security.scram.ScramLoginModule required;'
    }
  }
  return acls === true ? { ...settings, ...aclSettings() } : settings
}

function aclSettings(): Record<string, string> {
  return {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    // Who comes by the plain internal listener has no name.
    'super.users': 'User:ANONYMOUS',
  }
}

function scramArguments({ sasl }: KafkaOptions): string[] {
  return Object.entries(sasl?.users ?? {}).flatMap(([user, password]) =>
    SASL_MECHANISMS.slice(1).flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${user},password=${password}]`,
    ]),
  )
}

function addresses(ports: readonly number[]): string[] {
  return ports.map((port) => `127.0.0.1:${port}`)
}
