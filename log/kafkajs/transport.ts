import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls'
import KafkaConnection from 'kafkajs/src/network/connection.js'
import { writeRequest } from './hardening/copied-requests.ts'
import { ResponseFrames } from './hardening/copied-responses.ts'
import { Throttle } from './hardening/timer-loop.ts'
import type { Decoded, EncodedRequest, KafkaRequest } from './requests/request.ts'

/** API keys of what is sent before and for the log-in: ApiVersions, SaslHandshake, SaslAuthenticate. */
const LOG_IN: ReadonlySet<number> = new Set([18, 17, 36])
const KEEP_ALIVE_MS = 10_000
const CORRELATION_IDS = 2 ** 31

const silent = {
  namespace: () => silent,
  debug: (): void => {},
  info: (): void => {},
  warn: (): void => {},
  error: (): void => {},
}

/** Ours answer at once, KafkaJS's own later. */
interface AnyRequest<Result> {
  readonly request: Omit<KafkaRequest<Result>['request'], 'encode'> & {
    readonly encode: () => EncodedRequest | Promise<EncodedRequest>
  }
  readonly response: {
    decode(payload: Buffer): Decoded<Result> | Promise<Decoded<Result>>
    parse(decoded: Decoded<Result>): Result | Promise<Result>
  }
}

/**
 * KafkaJS's connection, of which connecting and log-in are kept (TLS, SASL, log-in again before a session ends), and
 * how requests and responses go over the socket is not.
 */
export class Transport extends KafkaConnection {
  readonly #clientId: string
  readonly #hasLogIn: boolean
  readonly #frames: ResponseFrames
  readonly #throttle = new Throttle()
  readonly #asked = new Map<number, { resolve: (payload: Buffer) => void; reject: (error: Error) => void }>()
  #nextCorrelationId = 0

  constructor(options: {
    readonly host: string
    readonly port: number
    readonly clientId: string
    readonly ssl: TlsOptions | null
    readonly sasl: object | null
    readonly connectionTimeoutMs: number
  }) {
    const frames = new ResponseFrames((frame) => this.#answered(frame))
    super({
      host: options.host,
      port: options.port,
      logger: silent,
      socketFactory: (to) => openSocket(to, frames),
      // Time-outs are the watchdog's.
      requestTimeout: 2 ** 31 - 1,
      enforceRequestTimeout: false,
      connectionTimeout: options.connectionTimeoutMs,
      ssl: options.ssl,
      // KafkaJS writes into it.
      sasl: options.sasl === null ? null : { ...options.sasl },
      clientId: options.clientId,
    })
    this.#clientId = options.clientId
    this.#frames = frames
    this.#hasLogIn = options.sasl !== null
  }

  /** @throws KafkaJS's errors of connections and log-in; whatever the reading of the answer throws */
  override async send<Result>({ request, response }: AnyRequest<Result>): Promise<Result> {
    const { apiKey, apiVersion } = request
    if (this.#hasLogIn && !LOG_IN.has(apiKey) && !this.isAuthenticated()) await this.authenticate()
    const body = await request.encode()
    if (this.#throttle.isOn) await this.#throttle.over()
    this.failIfNotConnected()
    const correlationId = this.#nextCorrelationId
    this.#nextCorrelationId = (correlationId + 1) % CORRELATION_IDS
    const answer = new Promise<Buffer>((resolve, reject) =>
      this.#asked.set(correlationId, { resolve, reject }),
    )
    const header = { apiKey, apiVersion, correlationId, clientId: this.#clientId }
    writeRequest(this.socket!, header, body.parts ?? [body.buffer])
    const decoded = await response.decode(await answer)
    this.#throttle.ask(decoded.clientSideThrottleTime)
    return response.parse(decoded)
  }

  /** From sockets that do not read straight into a frame. */
  override processData(chunk: Buffer): void {
    try {
      this.#frames.take(chunk)
    } catch (error) {
      this.socket!.destroy(error as Error)
    }
  }

  override rejectRequests(error: Error): void {
    const asked = [...this.#asked.values()]
    this.#asked.clear()
    for (const { reject } of asked) reject(error)
  }

  #answered(frame: Buffer): void {
    const correlationId = frame.readInt32BE(0)
    const asked = this.#asked.get(correlationId)
    if (asked === undefined)
      throw new Error(`a response came to a request (${correlationId}) that nobody has made`)
    this.#asked.delete(correlationId)
    asked.resolve(frame.subarray(4))
  }
}

function openSocket(
  to: { host: string; port: number; ssl: object | null; onConnect: () => void },
  frames: ResponseFrames,
): Socket {
  const { host, port, ssl, onConnect } = to
  const onread = {
    buffer: () => frames.room,
    callback: (bytes: number): boolean => {
      try {
        frames.advance(bytes)
      } catch (error) {
        socket.destroy(error as Error)
      }
      return true
    },
  }
  const name = isIP(host) === 0 ? { servername: host } : {}
  const socket: Socket =
    ssl === null
      ? connectTcp({ host, port, onread }, onConnect)
      : connectTls({ host, port, ...name, ...ssl }, onConnect)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  // A commit is a chain of small requests, each of which waits for the answer to the one before.
  socket.setNoDelay(true)
  return socket
}
