import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeCertificates, type Certificates } from './certificates.ts'
import { findProgram, run } from './command.ts'
import { debianPrograms } from './debian.ts'
import { freePorts } from './ports.ts'
import { ServerDirectory, ServerProcess } from './process.ts'
import { until } from './wait.ts'

const HELP = '`apt-get install redis-server redis-sentinel` (or `brew install redis`).'
const PACKAGES = ['redis-server', 'redis-sentinel', 'redis-tools', 'libjemalloc2', 'liblzf1']
const MASTER = 'mymaster'

/** What docker-compose.yml gives its server too; a test holds the two together. */
export const REDIS_SETTINGS = {
  // State that Redis throws away by itself would be lost without a word.
  'maxmemory-policy': 'noeviction',
} as const

/** By name; an empty value is written as ''. */
export type RedisSettings = Readonly<Record<string, string>>

export interface RedisOptions {
  /** Keeps the data there, also after the end; default a temporary directory. */
  readonly dir?: string
  readonly port?: number
  /** Beside {@link REDIS_SETTINGS}, and over them. Without `appendonly yes` nothing is kept on disk. */
  readonly settings?: RedisSettings
  /** Only TLS, on the one port. */
  readonly tls?: boolean
  /** Lines of `ACL SETUSER`: `{ millrace: 'on >secret ~* +@all' }`. The default user is off when any is given. */
  readonly acl?: Readonly<Record<string, string>>
}

export interface RedisNode {
  readonly port: number
  readonly server: ServerProcess
}

export interface RedisServers {
  readonly env: { readonly REDIS_URL: string }
  /** All servers that hold data; with Sentinel the first is the master at the start. */
  readonly nodes: readonly RedisNode[]
  /** With `tls`. */
  readonly certificates: Certificates | null
  /** Ends the servers, and removes a temporary directory. */
  stop(): Promise<void>
}

export interface SentinelServers extends RedisServers {
  readonly sentinels: readonly RedisNode[]
}

/**
 * Starts one Redis.
 * @throws StackError where redis-server is missing or does not start
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServers> {
  const directory = await ServerDirectory.open('redis', options.dir)
  const certificates = options.tls === true ? await makeCertificates(directory.path) : null
  const port = options.port ?? (await freePorts(1))[0]!
  const listen: RedisSettings =
    certificates === null
      ? { port: String(port) }
      : {
          port: '0',
          'tls-port': String(port),
          'tls-cert-file': certificates.certFile,
          'tls-key-file': certificates.keyFile,
          'tls-ca-cert-file': certificates.caFile,
          'tls-auth-clients': 'no',
        }
  const users = Object.entries(options.acl ?? {}).map(([name, rules]) => `user ${name} ${rules}`)
  if (users.length > 0) users.push('user default off')
  const node = await startNode('redis', directory.path, port, { ...listen, ...options.settings }, users)
  return {
    env: { REDIS_URL: `${certificates === null ? 'redis' : 'rediss'}://127.0.0.1:${port}` },
    nodes: [node],
    certificates,
    stop: stopOf([node], directory),
  }
}

/**
 * Starts a master, its replicas and three sentinels that fail over one second after they lose it.
 * @throws StackError where redis-server or redis-sentinel is missing or does not start
 */
export async function startSentinel({
  replicas = 1,
  settings = {},
}: {
  /** Default 1. */
  readonly replicas?: 1 | 2
  readonly settings?: RedisSettings
} = {}): Promise<SentinelServers> {
  const directory = await ServerDirectory.open('sentinel', undefined)
  const ports = await freePorts(1 + replicas + 3)
  const nodes: RedisNode[] = []
  const sentinels: RedisNode[] = []
  try {
    for (const [index, port] of ports.slice(0, 1 + replicas).entries()) {
      const follow: RedisSettings = index === 0 ? {} : { replicaof: `127.0.0.1 ${ports[0]!}` }
      // Without a delay the first replica waits 5 s for others before the master sends it a copy.
      const own = { port: String(port), 'repl-diskless-sync-delay': '0', ...follow, ...settings }
      nodes.push(await startNode(`redis-${index + 1}`, directory.path, port, own))
    }
    for (const node of nodes.slice(1)) {
      await untilInfo(node.port, 'replication', /master_link_status:up/)
    }
    for (const [index, port] of ports.slice(1 + replicas).entries()) {
      sentinels.push(await startSentinelNode(`sentinel-${index + 1}`, directory.path, port, ports[0]!))
    }
    // A sentinel that does not know the others cannot agree with them on a failover.
    for (const { port } of sentinels) {
      await untilInfo(port, 'sentinel', new RegExp(`slaves=${replicas},sentinels=3`))
    }
  } catch (error) {
    await stopOf([...sentinels, ...nodes], directory)()
    throw error
  }
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join()
  return {
    env: { REDIS_URL: `redis+sentinel://${hosts}/${MASTER}` },
    nodes,
    sentinels,
    certificates: null,
    stop: stopOf([...sentinels, ...nodes], directory),
  }
}

/**
 * Starts a Redis Cluster of three masters without replicas.
 * @throws StackError where redis-server or redis-cli is missing or does not start
 */
export async function startRedisCluster({
  settings = {},
}: { readonly settings?: RedisSettings } = {}): Promise<RedisServers> {
  const directory = await ServerDirectory.open('redis-cluster', undefined)
  const ports = await freePorts(6)
  const nodes: RedisNode[] = []
  try {
    for (const index of [0, 1, 2]) {
      const port = ports[index]!
      nodes.push(
        await startNode(`redis-${index + 1}`, directory.path, port, {
          port: String(port),
          'cluster-enabled': 'yes',
          // By itself it is the port and 10,000, which nobody checked to be free.
          'cluster-port': String(ports[index + 3]!),
          'cluster-config-file': `nodes-${index + 1}.conf`,
          'cluster-node-timeout': '2000',
          ...settings,
        }),
      )
    }
    const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`)
    await redisCli(['--cluster', 'create', ...hosts, '--cluster-replicas', '0', '--cluster-yes'])
    for (const { port } of nodes) {
      const isFormed = async (): Promise<boolean> =>
        (await redisCli(['-p', String(port), 'cluster', 'info'])).includes('cluster_state:ok')
      await until(`the cluster is formed, as ${port} sees it`, isFormed)
    }
  } catch (error) {
    await stopOf(nodes, directory)()
    throw error
  }
  return {
    env: { REDIS_URL: `redis://${nodes.map(({ port }) => `127.0.0.1:${port}`).join()}` },
    nodes,
    certificates: null,
    stop: stopOf(nodes, directory),
  }
}

async function startNode(
  name: string,
  directory: string,
  port: number,
  settings: RedisSettings,
  lines: readonly string[] = [],
): Promise<RedisNode> {
  const file = join(directory, `${name}.conf`)
  const all: RedisSettings = {
    bind: '127.0.0.1',
    dir: directory,
    dbfilename: `${name}.rdb`,
    appenddirname: `${name}-aof`,
    save: '',
    appendonly: 'no',
    ...REDIS_SETTINGS,
    ...settings,
  }
  const text = Object.entries(all).map(([key, value]) => `${key} ${value === '' ? '""' : value}`)
  await writeFile(file, [...text, ...lines, ''].join('\n'))
  const server = new ServerProcess({
    name,
    ...(await redisProgram('redis-server')),
    args: [file],
    directory,
    isReady: (log) => log.includes('Ready to accept connections'),
  })
  await server.start()
  return { port, server }
}

async function startSentinelNode(
  name: string,
  directory: string,
  port: number,
  master: number,
): Promise<RedisNode> {
  const file = join(directory, `${name}.conf`)
  await writeFile(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${directory}`,
      `sentinel monitor ${MASTER} 127.0.0.1 ${master} 2`,
      `sentinel down-after-milliseconds ${MASTER} 1000`,
      `sentinel failover-timeout ${MASTER} 3000`,
      '',
    ].join('\n'),
  )
  const server = new ServerProcess({
    name,
    ...(await redisProgram('redis-sentinel')),
    args: [file],
    directory,
    isReady: (log) => log.includes('+monitor master'),
  })
  await server.start()
  return { port, server }
}

function stopOf(nodes: readonly RedisNode[], directory: ServerDirectory): () => Promise<void> {
  return async () => {
    await Promise.all(nodes.map(({ server }) => server.stop()))
    await directory.remove()
  }
}

async function untilInfo(port: number, section: string, pattern: RegExp): Promise<void> {
  const isSo = async (): Promise<boolean> =>
    pattern.test(await redisCli(['-p', String(port), 'info', section]))
  await until(`${pattern.source} on port ${port}`, isSo)
}

/** Runs `redis-cli` with these arguments. @returns what it printed */
export async function redisCli(args: readonly string[]): Promise<string> {
  const { program, env } = await redisProgram('redis-cli')
  return run(program, args, { env, timeoutMs: 30_000 })
}

/** A program of Redis: of the PATH, else of Debian's packages. @throws StackError */
export async function redisProgram(
  name: string,
): Promise<{ program: string; env: Readonly<Record<string, string>> }> {
  try {
    return { program: findProgram(name, HELP), env: {} }
  } catch {
    const { directory, env } = await debianPrograms('redis', PACKAGES, HELP)
    return { program: join(directory, name), env }
  }
}
