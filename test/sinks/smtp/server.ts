import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export interface Mail {
  readonly from: string
  readonly to: readonly string[]
  /** Null: it was sent without. */
  readonly user: string | null
  readonly secure: boolean
  readonly source: string
}

export type Answer =
  | 'take'
  /** The reply never comes: after the connection, or after the mail. */
  | 'hang'
  /** The connection ends without a reply, though the mail was taken. */
  | 'take and cut'
  | { readonly code: number; readonly text: string }

/** A mail server on a real socket that takes what it is sent, unless told otherwise. */
export class MailServer {
  readonly mails: Mail[] = []
  /** Asked when a client connects, when it names a recipient, and when the mail has come. */
  onConnect: () => Answer = () => 'take'
  onRecipient: (address: string) => Answer = () => 'take'
  onMail: () => Answer = () => 'take'
  connections = 0
  readonly #options: SMTPServerOptions
  #server: SMTPServer
  #port = 0
  readonly #sockets = new Set<Socket>()

  constructor(options: SMTPServerOptions = {}) {
    this.#options = options
    this.#server = this.#make()
  }

  get port(): number {
    return this.#port
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.server.address() as AddressInfo).port
    return this
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => {
      this.#server.close(resolve)
    })
    this.#server = this.#make()
  }

  #make(): SMTPServer {
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      closeTimeout: 10,
      onConnect: (_session, done) => {
        this.connections++
        this.#reply(this.onConnect(), done)
      },
      onRcptTo: (address, _session, done) => this.#reply(this.onRecipient(address.address), done),
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => {
          const answer = this.onMail()
          if (answer === 'take' || answer === 'take and cut') {
            const { mailFrom, rcptTo } = session.envelope
            this.mails.push({
              from: mailFrom === false ? '' : mailFrom.address,
              to: rcptTo.map(({ address }) => address),
              user: typeof session.user === 'string' ? session.user : null,
              secure: session.secure,
              source: Buffer.concat(chunks).toString(),
            })
          }
          this.#reply(answer, done)
        })
      },
      ...this.#options,
    })
    server.on('error', () => undefined)
    // Destroying what lies under a TLS socket crashes Node 24.
    server.server.on(this.#options.secure === true ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    return server
  }

  #reply(answer: Answer, done: (error?: Error | null) => void): void {
    if (answer === 'hang') return
    if (answer === 'take and cut') {
      for (const socket of this.#sockets) socket.destroy()
      return
    }
    if (answer === 'take') done()
    else done(Object.assign(new Error(answer.text), { responseCode: answer.code }))
  }
}

/** A server that takes connections and says nothing at all. */
export async function silentServer(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server: NetServer = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
