import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { WarehouseError } from './errors.ts'
import type { QueryOptions, QueryResult } from './query.ts'
import { claimSocket, releaseSocket, type QueryRequest } from './query-socket.ts'

export interface QueryServerOptions {
  /** Where the socket, or the file that names it, is put. The caller has it to itself. */
  readonly directory: string
  readonly query: (sql: string, options: QueryOptions) => Promise<QueryResult>
  /** Default 30,000. */
  readonly timeoutMs?: number
}

const MAX_REQUEST_BYTES = 2 ** 20
const MAX_ROWS = 1_000_000
const MAX_CONNECTIONS = 32
/** At a time; the others wait for their turn, so that queries leave the run its CPU and memory. */
const MAX_RUNNING = 2
/** For a client to send its request, and to take its answer. */
const CLIENT_TIMEOUT_MS = 10_000

/** Answers queries of other processes on a local socket while this one has the file. */
export class QueryServer {
  readonly #options: QueryServerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  private constructor(options: QueryServerOptions) {
    this.#options = options
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** @throws what the operating system has against the socket */
  static async start(options: QueryServerOptions): Promise<QueryServer> {
    const server = new QueryServer(options)
    const path = claimSocket(options.directory)
    server.#server.listen(path)
    await once(server.#server, 'listening')
    chmodSync(path, 0o600)
    // It keeps no process alive: the run does.
    server.#server.unref()
    return server
  }

  /** Ends the clients that are connected. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
    releaseSocket(this.#options.directory)
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    // A client that goes away is its own affair.
    socket.on('error', () => socket.destroy())
    socket.setTimeout(CLIENT_TIMEOUT_MS, () => socket.destroy())
    const chunks: Buffer[] = []
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      chunks.push(chunk)
      const isComplete = chunk.includes(10)
      if (!isComplete && bytes <= MAX_REQUEST_BYTES) return
      socket.off('data', onData)
      socket.resume()
      if (bytes > MAX_REQUEST_BYTES) answer(socket, failure('BAD_QUERY', 'The request is over 1 MiB.'))
      else void this.#serve(socket, Buffer.concat(chunks).toString('utf8'))
    }
    socket.on('data', onData)
  }

  async #serve(socket: Socket, line: string): Promise<void> {
    socket.setTimeout(0)
    const gone = new AbortController()
    socket.once('close', () => gone.abort())
    let text: string
    try {
      const { sql, maxRows } = parse(line)
      await this.#turn()
      try {
        const { timeoutMs = 30_000, query } = this.#options
        text = JSON.stringify({ result: await query(sql, { maxRows, timeoutMs, signal: gone.signal }) })
      } finally {
        this.#running--
        this.#waiting.shift()?.()
      }
    } catch (error) {
      const code = error instanceof WarehouseError ? error.code : 'NO_ANSWER'
      text = failure(code, (error as Error).message)
    }
    answer(socket, text)
  }

  async #turn(): Promise<void> {
    while (this.#running >= MAX_RUNNING) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running++
  }
}

function parse(line: string): QueryRequest {
  try {
    const { sql, maxRows } = JSON.parse(line) as Partial<QueryRequest>
    if (typeof sql === 'string' && Number.isSafeInteger(maxRows) && maxRows! > 0) {
      return { sql, maxRows: Math.min(maxRows!, MAX_ROWS) }
    }
  } catch {
    // Said below.
  }
  throw new WarehouseError('BAD_QUERY', 'The request is not a line of JSON with sql and maxRows.')
}

function failure(code: string, message: string): string {
  return JSON.stringify({ error: { code, message } })
}

function answer(socket: Socket, text: string): void {
  if (socket.destroyed) return
  socket.setTimeout(CLIENT_TIMEOUT_MS, () => socket.destroy())
  socket.end(`${text}\n`)
}
