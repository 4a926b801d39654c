import type { Notice } from './notice.ts'

export const CHANNELS = ['webhook', 'email'] as const

export type ChannelName = (typeof CHANNELS)[number]

/** Who tells of a topic's rows: by a channel, or in the logs. It is a destination, and names a group. */
export function notifierName(topic: string, channel?: ChannelName): string {
  return channel === undefined ? `process-${topic}` : `process-${topic}.${channel}`
}

/** Somewhere that notices are sent to: a webhook, a mail server. */
export interface Channel {
  /** Names it in destinations and metrics. */
  readonly name: ChannelName
  /** For people: where it goes, without what is secret. */
  readonly description: string
  /**
   * Resolves when the other side has taken the notice over.
   * @throws DeliveryError within a bounded time
   */
  send(notice: Notice): Promise<void>
}

export type DeliveryErrorCode =
  /** For good: the same notice would be refused again. */
  | 'REFUSED'
  /** It may be taken later, or was taken and nobody knows: to be sent again under the same key. */
  | 'NOT_DELIVERED'

export class DeliveryError extends Error {
  readonly code: DeliveryErrorCode
  /** How long the other side wants to be left alone; null: it did not say. */
  readonly retryAfterMs: number | null

  constructor(
    code: DeliveryErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | null } = {},
  ) {
    super(message, options)
    this.name = 'DeliveryError'
    this.code = code
    this.retryAfterMs = options.retryAfterMs ?? null
  }
}
