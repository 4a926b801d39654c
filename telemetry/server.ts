import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Health, HealthReport } from './health.ts'
import type { Metrics } from './metrics.ts'

export interface TelemetryServerOptions {
  readonly metrics: Metrics
  readonly health: Health
  /** 0: any free one; the server says which. */
  readonly port: number
  /** Default 127.0.0.1: figures are nobody else's business unless somebody says so. */
  readonly host?: string
}

export interface TelemetryServer {
  readonly host: string
  readonly port: number
  readonly url: string
  /** Ends open connections too. */
  close(): Promise<void>
}

/** The port cannot be had. */
export class TelemetryError extends Error {
  readonly code = 'TELEMETRY_PORT'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TelemetryError'
  }
}

const MAX_CONNECTIONS = 64
const REQUEST_TIMEOUT_MS = 5_000
const JSON_TYPE = 'application/json; charset=utf-8'

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/**
 * `/metrics` for Prometheus; `/healthz` (503: kill this process) and `/readyz` (503: it does no work now), both
 * with their reasons as JSON.
 * @throws TelemetryError when the port cannot be listened on
 */
export async function startTelemetryServer({
  metrics,
  health,
  port,
  host = '127.0.0.1',
}: TelemetryServerOptions): Promise<TelemetryServer> {
  const routes: ReadonlyMap<string, () => Promise<Answer>> = new Map([
    ['/metrics', async () => ({ status: 200, type: metrics.contentType, body: await metrics.scrape() })],
    ['/healthz', async () => reportOf(health.alive())],
    ['/readyz', async () => reportOf(await health.ready())],
  ])
  const server = createServer(
    { headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => void respond(routes, request, response),
  )
  server.maxConnections = MAX_CONNECTIONS
  server.on('clientError', refuse)
  await listen(server, host, port)
  const { port: bound } = server.address() as AddressInfo
  const name = host.includes(':') ? `[${host}]` : host
  return { host, port: bound, url: `http://${name}:${bound}`, close: () => close(server) }
}

async function respond(
  routes: ReadonlyMap<string, () => Promise<Answer>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // Nobody sends us anything to read.
  request.resume()
  const { status, type, body } = await answer(routes, request)
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(status === 405 && { allow: 'GET, HEAD' }),
    // Whoever sends a body, or asks for what is not there, may open another connection.
    ...((status === 404 || status === 405) && { connection: 'close' }),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

async function answer(
  routes: ReadonlyMap<string, () => Promise<Answer>>,
  { method, url = '/' }: IncomingMessage,
): Promise<Answer> {
  const route = routes.get(url.split('?', 1)[0]!)
  if (route === undefined) {
    return text(404, `There are ${[...routes.keys()].join(', ')}.\n`)
  }
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'GET or HEAD only.\n')
  try {
    return await route()
  } catch (error) {
    return text(500, `${error instanceof Error ? error.message : String(error)}\n`)
  }
}

function reportOf({ ok, reasons }: HealthReport): Answer {
  return {
    status: ok ? 200 : 503,
    type: JSON_TYPE,
    body: `${JSON.stringify({ status: ok ? 'ok' : 'unavailable', reasons })}\n`,
  }
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body }
}

/** What is no HTTP is answered as such, if it can be, and hung up on. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
  if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n`)
  else socket.destroy()
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new TelemetryError(
          `Metrics and health cannot be served on ${host}, port ${port}: ` +
            `${WHY[error.code ?? ''] ?? error.message}. Choose another port, or 0 for any free one.`,
          { cause: error },
        ),
      )
    })
    server.listen(port, host, resolve)
  })
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there',
  EACCES: 'ports below 1024 need rights that this process does not have',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
