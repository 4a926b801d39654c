import { join } from 'node:path'
import { cached } from './cache.ts'
import { findProgram, run } from './command.ts'
import { StackError } from './errors.ts'
import { freePorts } from './ports.ts'
import { ServerDirectory, ServerProcess } from './process.ts'

const VERSION = '2.12.0'
const ANSWER_MS = 15_000

/**
 * Faults of one connection, both ways: `latency` delays each packet, `bandwidth` lets so much through,
 * `timeout` swallows everything and holds the connection open (a half-open one, for 0 ms without end),
 * `reset_peer` resets it, `limit_data` closes it after so many bytes.
 */
export type Toxic =
  | { readonly type: 'latency'; readonly attributes: { readonly latency: number; readonly jitter?: number } }
  | { readonly type: 'bandwidth'; readonly attributes: { /** KB/s. */ readonly rate: number } }
  | { readonly type: 'timeout'; readonly attributes: { /** ms. */ readonly timeout: number } }
  | { readonly type: 'reset_peer'; readonly attributes: { /** ms. */ readonly timeout: number } }
  | { readonly type: 'limit_data'; readonly attributes: { readonly bytes: number } }

export interface Toxiproxy {
  /** A way to `upstream` (`host:port`) by a port of its own. */
  proxy(name: string, upstream: string, port?: number): Promise<Proxy>
  /** Mends every proxy. */
  reset(): Promise<void>
  stop(): Promise<void>
}

export interface Proxy {
  readonly name: string
  readonly port: number
  /** Ends its connections and refuses new ones. */
  cut(): Promise<void>
  /** @param stream `downstream`: from the server to the client */
  add(toxic: Toxic, stream?: 'upstream' | 'downstream'): Promise<void>
  /** Takes cuts and toxics away. */
  mend(): Promise<void>
}

/**
 * Starts Toxiproxy, which stands between a client and a server and spoils what passes.
 * @throws StackError without Go (for the first start), or where it does not start
 */
export async function startToxiproxy(): Promise<Toxiproxy> {
  const program = await toxiproxyProgram()
  const directory = await ServerDirectory.open('toxiproxy', undefined)
  const [port] = await freePorts(1)
  const server = new ServerProcess({
    name: 'toxiproxy',
    program: join(program, 'server'),
    args: ['-host', '127.0.0.1', '-port', String(port)],
    directory: directory.path,
    isReady: (log) => log.includes('Starting Toxiproxy HTTP server'),
  })
  await server.start()
  const ask = asker(`http://127.0.0.1:${port}`)
  return {
    proxy: async (name, upstream, given) => {
      const own = given ?? (await freePorts(1))[0]!
      const body = { name, upstream, listen: `127.0.0.1:${own}`, enabled: true }
      await ask('POST', '/proxies', body)
      return proxyOf(ask, name, own)
    },
    reset: async () => ask('POST', '/reset').then(() => undefined),
    stop: async () => {
      await server.stop()
      await directory.remove()
    },
  }
}

type Ask = (method: string, path: string, body?: unknown) => Promise<unknown>

function proxyOf(ask: Ask, name: string, port: number): Proxy {
  const path = `/proxies/${name}`
  let toxics = 0
  return {
    name,
    port,
    cut: async () => ask('POST', path, { enabled: false }).then(() => undefined),
    add: async (toxic, stream = 'downstream') => {
      const body = { ...toxic, name: `${toxic.type}-${++toxics}`, stream, toxicity: 1 }
      await ask('POST', `${path}/toxics`, body)
    },
    mend: async () => {
      const present = (await ask('GET', `${path}/toxics`)) as { name: string }[]
      for (const toxic of present) await ask('DELETE', `${path}/toxics/${toxic.name}`)
      await ask('POST', path, { enabled: true })
    },
  }
}

function asker(url: string): Ask {
  return async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_MS),
      // Toxiproxy refuses what browsers send.
      headers: { 'user-agent': 'millrace', 'content-type': 'application/json' },
    })
    const text = await response.text()
    if (!response.ok) throw new StackError('BAD_REQUEST', `toxiproxy, ${method} ${path}: ${text}`)
    return text === '' ? null : (JSON.parse(text) as unknown)
  }
}

/** The directory of Toxiproxy, built by Go when it is first needed. @throws StackError */
export async function toxiproxyProgram(): Promise<string> {
  return cached(`toxiproxy-${VERSION}`, async (directory) => {
    const go = findProgram('go', 'Toxiproxy is built by Go (`apt-get install golang`, or from go.dev).')
    const source = `github.com/Shopify/toxiproxy/v2/cmd/server@v${VERSION}`
    await run(go, ['install', source], { env: { GOBIN: directory } })
  })
}
