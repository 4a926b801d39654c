import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export interface Received {
  readonly key: string
  readonly text: string
}

/** What the server does with a request: a status with headers, no answer, or a cut after it has taken it. */
export type Behaviour =
  | number
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | 'hang'
  | 'take and cut'
  | 'cut'

/** A webhook on a real socket that takes what it is sent, unless told otherwise. */
export class WebhookServer {
  /** What it took, repetitions included. */
  readonly taken: Received[] = []
  /** Requests that came, taken or not. */
  asked = 0
  /** Asked for each request. */
  behave: (request: Received) => Behaviour = () => 200
  #server: Server
  #port = 0

  constructor() {
    this.#server = this.#make()
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/services/T000/B000/very-secret`
  }

  async listen(): Promise<this> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** Refuses connections from here on; `listen` ends it. */
  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
    this.#server = this.#make()
  }

  #make(): Server {
    return createServer((request, response) => void this.#answer(request, response))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    this.asked++
    const { text } = JSON.parse(body) as { text: string }
    const received = { key: String(request.headers['idempotency-key']), text }
    const behaviour = this.behave(received)
    if (behaviour === 'hang') return
    if (behaviour === 'take and cut') this.taken.push(received)
    if (typeof behaviour === 'string') {
      request.socket.destroy()
      return
    }
    const {
      status,
      headers = {},
      body: answer = '',
    } = typeof behaviour === 'number' ? { status: behaviour } : behaviour
    if (status < 300) this.taken.push(received)
    response.writeHead(status, headers).end(answer)
  }
}
