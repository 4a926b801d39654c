import { createHash } from 'node:crypto'
import { createTransport, type Transporter } from 'nodemailer'
import { DeliveryError, type Channel } from '../notify/channel.ts'
import { lineOf, type Notice } from '../notify/notice.ts'

export interface SmtpOptions {
  readonly host: string
  readonly port: number
  /** TLS from the first byte; else STARTTLS, where it is offered. */
  readonly secure: boolean
  /** Without TLS nothing is sent. */
  readonly requireTls: boolean
  readonly auth: { readonly user: string; readonly password: string } | null
  /** PEM; null: the system's authorities. */
  readonly ca: string | null
  readonly from: string
  /** One or more. */
  readonly to: readonly string[]
  /** For one step of the exchange; a whole mail has three times as long. Default 10,000. */
  readonly timeoutMs?: number
}

/** Mails each notice, with a `Message-ID` made of its key. */
export class Smtp implements Channel {
  readonly name = 'email'
  readonly description: string
  readonly #options: SmtpOptions
  readonly #timeoutMs: number
  readonly #transport: Transporter<{ readonly rejected: readonly string[] }>

  constructor(options: SmtpOptions) {
    const { host, port, secure, requireTls, auth, ca, to, timeoutMs = 10_000 } = options
    this.#options = options
    this.#timeoutMs = timeoutMs
    this.description = `mail to ${to.join(', ')} by ${host}:${port}`
    this.#transport = createTransport({
      host,
      port,
      secure,
      requireTLS: requireTls,
      // Their default is minutes: a server that hangs must not hold up what follows.
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      dnsTimeout: timeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(auth !== null && { auth: { user: auth.user, pass: auth.password } }),
      ...(ca !== null && { tls: { ca } }),
    })
  }

  async send(notice: Notice): Promise<void> {
    const { from, to } = this.#options
    const line = lineOf(notice)
    try {
      await this.#transport.sendMail({
        from,
        to: [...to],
        messageId: this.#messageId(notice.key),
        subject: `[${notice.pipeline}] ${notice.text}`,
        text: `${line}.\n\nPipeline: ${notice.pipeline}\nSeverity: ${notice.severity}\nKey: ${notice.key}\n`,
        headers: { 'Idempotency-Key': notice.key, 'Auto-Submitted': 'auto-generated' },
        // Each step has its time; a server that answers every step just in time has not.
        signal: AbortSignal.timeout(3 * this.#timeoutMs),
      })
    } catch (error) {
      throw this.#errorOf(error as Error & SmtpFailure)
    }
  }

  #messageId(key: string): string {
    const domain = /@([A-Za-z0-9.-]+)>?\s*$/.exec(this.#options.from)?.[1] ?? 'localhost'
    return `<${createHash('sha256').update(key).digest('hex').slice(0, 32)}@${domain}>`
  }

  #errorOf(error: Error & SmtpFailure): DeliveryError {
    const { host, port } = this.#options
    const message = `The mail server ${host}:${port} ${this.#wordsOf(error)}.`
    return new DeliveryError(isForGood(error) ? 'REFUSED' : 'NOT_DELIVERED', message, { cause: error })
  }

  #wordsOf({ code, responseCode, response, message, name }: Error & SmtpFailure): string {
    if (responseCode !== undefined) return `answered ${response ?? responseCode}`
    if (code === 'ETIMEDOUT' || code === 'EABORT' || name === 'TimeoutError') return 'did not answer in time'
    return `could not be used (${code === undefined ? '' : `${code}: `}${message})`
  }
}

interface SmtpFailure {
  /** Nodemailer's. */
  readonly code?: string
  /** The server's, with its words. */
  readonly responseCode?: number
  readonly response?: string
}

/** A reply of 5xx is for good (RFC 5321, 4.2.1), and so is what was refused before any server was asked. */
function isForGood({ code, responseCode }: SmtpFailure): boolean {
  if (responseCode !== undefined) return responseCode >= 500
  return code === 'EENVELOPE' || code === 'EMESSAGE'
}
