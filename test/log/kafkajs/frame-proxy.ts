import { connect, createServer, type Server, type Socket } from 'node:net'

/** What is done with an answer: `lose` swallows it and leaves the connection as it is, `cut` ends the connection instead. */
export type Fate = 'pass' | 'lose' | 'cut'

/** A request that stands somewhere on its way to the broker. */
export interface HeldRequest {
  /** Resolves when it is held. */
  readonly isHeld: Promise<void>
  /** The broker gets it now, whatever has become of its connection. @returns the broker's answer, a whole frame */
  deliver(): Promise<Buffer>
}

const API_KEY_AT = 4
const CORRELATION_AT = 8

/** A TCP proxy that knows where Kafka's requests and answers begin and end, and loses some of the answers. */
export class FrameProxy {
  readonly port: number
  /** Where new connections go. */
  targetPort: number
  /** Asked for each answer, by the API key of its request. */
  fateOf: (apiKey: number) => Fate = () => 'pass'
  /** What the client gets for an answer that passes; the size stands in it. */
  rewrite: (apiKey: number, answer: Buffer) => Buffer = (_, answer) => answer
  connections = 0
  readonly #holds: { apiKey: number; passes: boolean; take: (frame: Buffer) => void }[] = []
  readonly #server: Server
  readonly #sockets: Set<Socket>

  private constructor(server: Server, sockets: Set<Socket>, port: number, targetPort: number) {
    this.#server = server
    this.#sockets = sockets
    this.port = port
    this.targetPort = targetPort
  }

  static async start(brokers: string): Promise<FrameProxy> {
    const targetPort = portOf(brokers)
    const sockets = new Set<Socket>()
    const server = createServer((client) => {
      proxy.connections++
      proxy.#join(client, connect({ host: '127.0.0.1', port: proxy.targetPort }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const proxy = new FrameProxy(server, sockets, (server.address() as { port: number }).port, targetPort)
    return proxy
  }

  /** Ends every connection that is open. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Does that to the first answers to this API, and passes the others. */
  once(fate: Fate, apiKey: number, times = 1): void {
    let left = times
    this.fateOf = (key) => (key === apiKey && left-- > 0 ? fate : 'pass')
  }

  /**
   * Keeps the next request to this API for later.
   * @param passes the broker gets it at once all the same, so that what is delivered later is a second copy
   */
  hold(apiKey: number, { passes = false } = {}): HeldRequest {
    const held = Promise.withResolvers<Buffer>()
    this.#holds.push({ apiKey, passes, take: held.resolve })
    return {
      isHeld: held.promise.then(() => undefined),
      deliver: async () => ask(this.targetPort, await held.promise),
    }
  }

  async stop(): Promise<void> {
    this.cutAll()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(client: Socket, broker: Socket): void {
    const asked = new Map<number, number>()
    for (const socket of [client, broker]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
    }
    client.on('close', () => broker.destroy())
    broker.on('close', () => client.destroy())
    onFrames(client, (frame) => {
      const apiKey = frame.readInt16BE(API_KEY_AT)
      asked.set(frame.readInt32BE(CORRELATION_AT), apiKey)
      const holding = this.#holds.findIndex((hold) => hold.apiKey === apiKey)
      const [hold] = holding < 0 ? [] : this.#holds.splice(holding, 1)
      hold?.take(Buffer.from(frame))
      if (hold?.passes ?? true) broker.write(frame)
    })
    onFrames(broker, (frame) => {
      const apiKey = asked.get(frame.readInt32BE(4))!
      const fate = this.fateOf(apiKey)
      if (fate === 'pass') client.write(this.rewrite(apiKey, frame))
      if (fate === 'cut') client.destroy()
    })
  }
}

async function ask(port: number, frame: Buffer): Promise<Buffer> {
  const socket = connect({ host: '127.0.0.1', port })
  const answer = new Promise<Buffer>((resolve, reject) => {
    onFrames(socket, resolve)
    socket.on('error', reject)
  })
  socket.write(frame)
  return answer.finally(() => socket.destroy())
}

/** Of the first of them. */
export function portOf(brokers: string): number {
  return Number(brokers.split(',')[0]!.split(':')[1])
}

function onFrames(socket: Socket, handle: (frame: Buffer) => void): void {
  let held: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    while (held.length >= 4 && held.length >= 4 + held.readInt32BE(0)) {
      const end = 4 + held.readInt32BE(0)
      handle(held.subarray(0, end))
      held = held.subarray(end)
    }
  })
}
