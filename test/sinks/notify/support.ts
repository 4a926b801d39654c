import { long, schema, string, timestamp } from '../../../schemas/schema.ts'
import type { Channel } from '../../../sinks/notify/channel.ts'
import { Notifier, type NoticeEvent, type NotifierOptions } from '../../../sinks/notify/notifier.ts'
import { openDeadLetters } from '../../../sinks/dead-letter-writer.ts'
import { DEAD_LETTERS, SinkBench } from '../support.ts'

const NOTICES = 'shop.notices'
export const SIZE_MS = 300_000

const alertSchema = schema('Alert', {
  alert_type: string(),
  country: string(),
  window_start: timestamp(),
  window_end: timestamp(),
  order_count: long(),
})

/** A log with alerts to be sent, and a clock that the test moves. */
export class NoticeBench {
  readonly sinks: SinkBench
  /** The beginning of a window. */
  readonly startMs = Math.floor(Date.now() / SIZE_MS) * SIZE_MS
  /** Starts then. */
  readonly clock: { now: number; nowMs(): number }
  readonly events: NoticeEvent['kind'][] = []
  readonly said: string[] = []
  readonly #notifiers: Notifier[] = []

  private constructor(sinks: SinkBench) {
    this.sinks = sinks
    this.clock = { now: this.startMs, nowMs: () => this.clock.now }
  }

  static async create(partitions = 1): Promise<NoticeBench> {
    const sinks = await SinkBench.create(partitions)
    await sinks.log.admin.createTopics([
      { name: NOTICES, partitions: 1, cleanup: 'compact', retentionMs: -1 },
    ])
    return new NoticeBench(sinks)
  }

  /** Alerts of windows that are counted back from the start: 1 is the one that ended then. */
  async produce(alertType: string, back: readonly number[], country = 'IE', partition = 0): Promise<void> {
    const rows = back.map((windows) => ({
      alert_type: alertType,
      country,
      window_start: this.startMs - windows * SIZE_MS,
      window_end: this.startMs - (windows - 1) * SIZE_MS,
      order_count: windows,
    }))
    await this.sinks.produce(alertSchema, rows, partition)
  }

  notifier(channel: Channel, options: Partial<NotifierOptions> = {}): Notifier {
    const { log, registry } = this.sinks
    const { clock } = this
    const deadLetters = { log, registry, clock, topic: DEAD_LETTERS, pipeline: 'shop' }
    const notifier = new Notifier({
      log,
      application: 'shop',
      alerts: {
        application: 'shop',
        topic: 'alerts',
        notify: {
          text: (row) => `${String(row['alert_type'])} <in> ${String(row['country'])}`,
          runsOf: ['alert_type'],
        },
      },
      channel,
      noticesTopic: NOTICES,
      deadLetters: () => openDeadLetters(deadLetters),
      lookEveryMs: 5,
      tell: ({ kind }) => this.events.push(kind),
      notice: (message) => this.said.push(message),
      clock,
      ...options,
    })
    this.#notifiers.push(notifier)
    return notifier
  }

  async close(): Promise<void> {
    await this.sinks.close()
    for (const notifier of this.#notifiers) await notifier.close()
  }
}
