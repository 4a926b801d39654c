import { Cluster, Redis, type Command, type RedisOptions as ClientOptions } from 'ioredis'
import type { ConnectionOptions } from 'node:tls'
import { parseRedisUrl, type RedisAddress } from './address.ts'
import { isNoScript, replyOf, unavailable } from './errors.ts'
import { ReadyCommand, ScriptCall } from './resp.ts'
import type { RedisStats } from './stats.ts'

/** Calls whose buffers are kept for the next ones. */
const SPARE_CALLS = 8
const LARGEST_SPARE_BYTES = 4 * 2 ** 20
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 2_000

export interface ConnectionSettings {
  /** `redis://`, `redis+sentinel://` or `redis+cluster://`, with `rediss` for TLS (address.ts). */
  readonly url: string
  /** What Node's TLS takes (`ca`, `cert`, `key`, `servername`); default the system's authorities. */
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>
  /** Of the sentinels themselves; the URL's are those of the servers behind them. */
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
  /** How long an answer may take, connecting included. Default 5,000. */
  readonly timeoutMs?: number
  /** In [0, 1): spreads reconnections. Default Math.random. */
  readonly random?: () => number
  /** Told once when Redis goes away, and once when it is back. Default: nobody. */
  readonly report?: (message: string) => void
}

/**
 * One connection to a server, to the master that sentinels name, or to each master of a cluster. A call fails
 * soon when Redis is away; the caller tries again. Nothing is sent twice by ioredis to one server; on a cluster
 * it follows redirections, which is safe, since every script compares before it sets.
 */
export class RedisConnection {
  /** Where it is, without credentials. */
  readonly address: string
  readonly #client: Redis | Cluster
  readonly #timeoutMs: number
  readonly #report: (message: string) => void
  readonly #stats: RedisStats
  readonly #spare: ScriptCall[] = []
  #lastError: Error | null = null
  #isAway = false
  #isClosed = false

  /** @throws StateError STATE_UNAVAILABLE where the URL cannot be read */
  constructor(settings: ConnectionSettings, stats: RedisStats) {
    const address = parseRedisUrl(settings.url)
    this.address = address.text
    this.#timeoutMs = settings.timeoutMs ?? 5_000
    this.#report = settings.report ?? (() => undefined)
    this.#stats = stats
    this.#client = clientOf(address, settings, this.#timeoutMs)
    this.#client.on('error', (error: Error) => {
      this.#failed(error)
    })
    this.#client.on('connect', () => {
      this.#lastError = null
    })
    this.#client.on('node error', (error: Error) => {
      this.#failed(error)
    })
  }

  /** A call to fill; `run` takes it back. */
  call(): ScriptCall {
    return this.#spare.pop() ?? new ScriptCall()
  }

  /**
   * Runs a script by its digest; with its text where the server does not have it (a restart, a failover).
   * @returns its reply, strings as Buffers
   * @throws StateError STATE_UNAVAILABLE
   */
  async run(call: ScriptCall): Promise<unknown> {
    const bytes = call.evalSha()
    this.#stats.bytesSent += bytes.length
    let reply: unknown
    try {
      reply = await this.#send(new ReadyCommand(call.firstKey, bytes))
    } catch (error) {
      if (!isNoScript(error)) throw this.#unavailable(error)
      this.#stats.scriptsLoaded++
      reply = await this.#send(new ReadyCommand(call.firstKey, call.eval())).catch((again: unknown) => {
        throw this.#unavailable(again)
      })
    }
    this.#succeeded()
    // Only now: what failed by time may still stand in a socket's queue and go out later.
    if (this.#spare.length < SPARE_CALLS && call.buffer.length <= LARGEST_SPARE_BYTES) this.#spare.push(call)
    return reply
  }

  /** One of Redis' own commands on one key. @returns strings as Buffers @throws StateError STATE_UNAVAILABLE */
  command(name: string, ...args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.#within(this.#client.callBuffer(name, ...args))
  }

  /** INFO of the server, or of each master of a cluster. @throws StateError STATE_UNAVAILABLE */
  async info(): Promise<{ node: string; info: ReadonlyMap<string, string> }[]> {
    const nodes = await this.#masters()
    return Promise.all(
      nodes.map(async (node) => {
        const text = await this.#within(node.info())
        const lines = text.split(/\r?\n/).filter((line) => line.includes(':') && !line.startsWith('#'))
        const info = new Map(
          lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
        )
        return { node: `${node.options.host ?? this.address}:${node.options.port ?? ''}`, info }
      }),
    )
  }

  close(): void {
    this.#isClosed = true
    this.#client.disconnect()
  }

  async #masters(): Promise<Redis[]> {
    if (!(this.#client instanceof Cluster)) return [this.#client]
    // Its nodes are known once it is connected, which any command waits for.
    await this.#within(this.#client.cluster('INFO'))
    return this.#client.nodes('master')
  }

  /** As `#send`, for ioredis' own commands: they wait in its queue without a limit. */
  async #within<T>(answer: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new Error('Command timed out'))
      }, this.#timeoutMs)
    })
    try {
      return await Promise.race([answer, late])
    } catch (error) {
      throw this.#unavailable(error)
    } finally {
      clearTimeout(timer)
    }
  }

  #send(command: Command): Promise<unknown> {
    // Before it is sent: on a cluster it may wait for its node first.
    command.setTimeout(this.#timeoutMs)
    return this.#client.sendCommand(command) as Promise<unknown>
  }

  #unavailable(error: unknown): Error {
    this.#stats.unavailable++
    const translated = unavailable(this.address, error, this.#lastError)
    this.#say(translated.message)
    return translated
  }

  #failed(error: Error): void {
    // A cluster's own error wraps the one that tells.
    this.#lastError = (error as { lastNodeError?: Error }).lastNodeError ?? error
    this.#say(unavailable(this.address, error, this.#lastError).message)
  }

  #say(message: string): void {
    if (this.#isAway || this.#isClosed) return
    this.#isAway = true
    this.#stats.connected = 0
    this.#report(message)
  }

  #succeeded(): void {
    this.#lastError = null
    this.#stats.connected = 1
    if (!this.#isAway) return
    this.#isAway = false
    this.#report(`Redis (${this.address}) answers again.`)
  }
}

function clientOf(address: RedisAddress, settings: ConnectionSettings, timeoutMs: number): Redis | Cluster {
  const random = settings.random ?? Math.random
  const retryMs = (times: number): number =>
    Math.min(FIRST_RETRY_MS * 2 ** Math.min(times - 1, 10), LONGEST_RETRY_MS) * (1 - random() / 2)
  const tls = address.tls ? { tls: settings.tls ?? {} } : {}
  const node = {
    ...tls,
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password }),
    connectTimeout: timeoutMs,
    // A connection that went dead without a word is given up with the command that noticed.
    socketTimeout: timeoutMs,
    // What was in flight when a connection broke fails at once, instead of being sent again or never answered.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // After a failover the old master is a replica: ask again who the master is.
    reconnectOnError: (error) => ['READONLY', 'MASTERDOWN'].includes(replyOf(error) ?? ''),
    protocol: 2,
    disableClientInfo: true,
  } satisfies ClientOptions
  if (address.kind === 'cluster') {
    return new Cluster([...address.hosts], {
      redisOptions: node,
      clusterRetryStrategy: retryMs,
      slotsRefreshTimeout: timeoutMs,
      // Certificates are for the names that the nodes announce.
      ...(address.tls
        ? {
            dnsLookup: (host, done) => {
              done(null, host)
            },
          }
        : {}),
    })
  }
  if (address.kind === 'server') {
    const [{ host, port }] = address.hosts as [RedisAddress['hosts'][number]]
    return new Redis({ ...node, host, port, db: address.database, retryStrategy: retryMs })
  }
  return new Redis({
    ...node,
    sentinels: [...address.hosts],
    name: address.master,
    db: address.database,
    retryStrategy: retryMs,
    sentinelRetryStrategy: retryMs,
    ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: settings.tls ?? {} } : {}),
    ...(settings.sentinelUsername === undefined ? {} : { sentinelUsername: settings.sentinelUsername }),
    ...(settings.sentinelPassword === undefined ? {} : { sentinelPassword: settings.sentinelPassword }),
  })
}
