import { DeliveryError, type Channel } from '../notify/channel.ts'
import { lineOf, type Notice } from '../notify/notice.ts'

export interface WebhookOptions {
  /** Secret: who has it can post. */
  readonly url: string
  /** For the whole answer. Default 10,000. */
  readonly timeoutMs?: number
}

const SIGNS = { error: ':rotating_light:', warn: ':warning:', info: ':information_source:' } as const

/** Of 4xx these are about time, not about what was sent: time-out, too early, too many. */
const LATER = new Set([408, 425, 429])

const MAX_REASON_CHARACTERS = 200
/** Nobody is left alone for longer, whatever it asks for. */
const MAX_RETRY_AFTER_MS = 15 * 60_000

/** Posts `{"text": …}`, as Slack's incoming webhooks and those that follow them take it, with an `Idempotency-Key`. */
export class Webhook implements Channel {
  readonly name = 'webhook'
  readonly description: string
  readonly #url: string
  readonly #timeoutMs: number

  constructor({ url, timeoutMs = 10_000 }: WebhookOptions) {
    this.#url = url
    this.#timeoutMs = timeoutMs
    this.description = `webhook at ${new URL(url).host}`
  }

  async send(notice: Notice): Promise<void> {
    const [response, body] = await this.#post(notice)
    if (response.ok) return
    const { status } = response
    const answer = `The ${this.description} answered ${status}${body === '' ? '' : ` (${body})`}`
    if (status >= 500 || LATER.has(status)) {
      const retryAfterMs = retryAfter(response.headers.get('retry-after'))
      throw new DeliveryError('NOT_DELIVERED', `${answer}.`, { retryAfterMs })
    }
    const isMoved = status >= 300 && status < 400
    throw new DeliveryError(
      'REFUSED',
      isMoved ? `${answer}: it has moved; set ALERT_WEBHOOK_URL anew.` : `${answer}.`,
    )
  }

  async #post(notice: Notice): Promise<[Response, string]> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': notice.key },
        body: JSON.stringify({ text: textOf(notice) }),
        // Followed, a POST may become a GET that is answered with 200.
        redirect: 'manual',
        signal: AbortSignal.timeout(this.#timeoutMs),
      })
      return [response, await this.#reasonOf(response)]
    } catch (error) {
      throw new DeliveryError('NOT_DELIVERED', `The ${this.description} ${this.#wordsOf(error as Error)}.`, {
        cause: error,
      })
    }
  }

  /** Read to its end so that the connection can be used again, unless there is no end to it. */
  async #reasonOf(response: Response): Promise<string> {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true })
      if (text.length > MAX_REASON_CHARACTERS) break
    }
    // It may be told where it was sent to.
    return text.replaceAll(/\s+/g, ' ').trim().slice(0, MAX_REASON_CHARACTERS).replaceAll(this.#url, '…')
  }

  #wordsOf(error: Error): string {
    if (error.name === 'TimeoutError') return `did not answer within ${this.#timeoutMs / 1000} s`
    const { code, message } = (error.cause ?? error) as Error & { code?: string }
    return `cannot be reached (${code ?? message.replaceAll(this.#url, '…')})`
  }
}

function textOf(notice: Notice): string {
  // The three characters that Slack's text gives a meaning to.
  const line = lineOf(notice).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `${SIGNS[notice.severity]} *${notice.pipeline}* ${line}`
}

/** Seconds, or a date. */
function retryAfter(value: string | null): number | null {
  if (value === null) return null
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : null
}
