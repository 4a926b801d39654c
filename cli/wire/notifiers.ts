import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import { noticesTopic, type Plan } from '../../processor/topology/plan.ts'
import type { SchemaRegistry } from '../../schemas/registry.ts'
import { openDeadLetters } from '../../sinks/dead-letter-writer.ts'
import { AlertLog } from '../../sinks/notify/alert-log.ts'
import type { Channel } from '../../sinks/notify/channel.ts'
import { Notifier, type NoticeEvent } from '../../sinks/notify/notifier.ts'
import type { Sink } from '../../sinks/port.ts'
import { Webhook } from '../../sinks/webhook/webhook.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { AlertSettings } from '../settings/alerts.ts'

export type { NoticeEvent } from '../../sinks/notify/notifier.ts'

export interface NotifierSinksOptions {
  readonly log: Log
  readonly registry: SchemaRegistry
  readonly plan: Plan
  readonly clock: Clock
  readonly logger: Logger
  readonly alerts: AlertSettings
  readonly notice: (message: string) => void
  readonly tellNotice?: (event: NoticeEvent) => void
}

interface NotifierSink {
  readonly topic: string
  readonly sink: Sink
  /** For people; no secrets. */
  readonly goesTo: string
}

/** For each topic that people are told of: what logs its rows, and what sends notices by each channel that is set. */
export async function notifierSinks(options: NotifierSinksOptions): Promise<NotifierSink[]> {
  const { log, registry, plan, clock, logger, alerts, notice, tellNotice } = options
  const { application, deadLetterTopic } = plan
  const deadLetters = { log, registry, clock, topic: deadLetterTopic, pipeline: plan.pipeline.name }
  const channels = await channelsOf(alerts)
  return plan.sinks.flatMap(({ node, topic }) => {
    const { destination } = node
    if (destination.kind !== 'topic' || destination.notify === null) return []
    const reading = { application, topic: destination.name, notify: destination.notify }
    const { maxAgeMs } = alerts
    return [
      { topic, goesTo: 'logs', sink: new AlertLog({ alerts: reading, log: logger, clock, maxAgeMs }) },
      ...channels.map((channel) => ({
        topic,
        goesTo: channel.description,
        sink: new Notifier({
          log,
          application,
          alerts: reading,
          channel,
          noticesTopic: noticesTopic(application),
          deadLetters: () => openDeadLetters(deadLetters),
          maxAgeMs,
          clock,
          notice,
          ...(tellNotice !== undefined && { tell: tellNotice }),
        }),
      })),
    ]
  })
}

async function channelsOf({ webhookUrl, email }: AlertSettings): Promise<Channel[]> {
  const channels: Channel[] = []
  if (webhookUrl !== null) channels.push(new Webhook({ url: webhookUrl }))
  if (email !== null) {
    // Loaded where it is used: a start need not take the time.
    const { Smtp } = await import('../../sinks/smtp/smtp.ts')
    channels.push(new Smtp(email))
  }
  return channels
}
