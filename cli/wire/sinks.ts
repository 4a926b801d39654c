import { randomBytes } from 'node:crypto'
import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { Plan } from '../../processor/topology/plan.ts'
import { deadLetterDescriptions, deadLetterSchema } from '../../schemas/dead-letter.ts'
import type { SchemaRegistry } from '../../schemas/registry.ts'
import type { Warehouse } from '../../sinks/local/warehouse.ts'
import { SinkRunner, type SinkEvent } from '../../sinks/runner.ts'
import type { Logger } from '../../telemetry/log.ts'
import { formatElapsed } from '../output/format.ts'
import type { AlertSettings } from '../settings/alerts.ts'
import { notifierSinks, type NoticeEvent } from './notifiers.ts'

/** All sinks of a pipeline share one process, so each gets less memory than it would take alone. */
const LIMITS = { maxRows: 10_000, maxBytes: 2 * 2 ** 20, maxHeldBytes: 6 * 2 ** 20 }

export interface BoundSink {
  readonly name: string
  /** For people: where notices go. null: a table of the warehouse. */
  readonly goesTo: string | null
  readonly runner: SinkRunner
  /** When the runner has ended. */
  close(): Promise<void>
}

export interface SinksOptions {
  readonly log: Log
  readonly registry: SchemaRegistry
  readonly plan: Plan
  readonly warehouse: Warehouse
  /** null: a random one. */
  readonly instance: string | null
  readonly clock: Clock
  readonly logger: Logger
  readonly notice: (message: string) => void
  readonly alerts: AlertSettings
  /** Told what happens to the sinks. Default: nobody. */
  readonly tell?: (event: SinkEvent) => void
  /** Told what happens to notices. Default: nobody. */
  readonly tellNotice?: (event: NoticeEvent) => void
}

/** A runner for every table of the pipeline, for its dead letters, and for what people are told of. */
export async function openSinks(options: SinksOptions): Promise<BoundSink[]> {
  const { log, registry, plan, warehouse, clock, notice } = options
  const common = {
    ...LIMITS,
    log,
    registry,
    application: plan.application,
    pipeline: plan.pipeline.name,
    instance: options.instance ?? randomBytes(8).toString('hex'),
    clock,
    report: (event: SinkEvent): void => {
      options.tell?.(event)
      const message = wordsOf(event)
      if (message !== null) notice(message)
    },
  }
  const deadLetters = {
    name: 'dead_letters',
    schema: deadLetterSchema,
    clusterBy: [],
    description: 'What could not be processed, with its reason and its bytes',
    descriptions: deadLetterDescriptions,
  }
  return [
    ...plan.sinks.map(({ topic, table }) => ({ topic, sink: warehouse.sink(table), goesTo: null })),
    { topic: plan.deadLetterTopic, sink: warehouse.sink(deadLetters), goesTo: null },
    ...(await notifierSinks(options)),
  ].map(({ topic, sink, goesTo }) => {
    const runner = new SinkRunner({ ...common, topic, sink })
    return { name: sink.destination, goesTo, runner, close: () => sink.close() }
  })
}

function wordsOf(event: SinkEvent): string | null {
  switch (event.kind) {
    case 'prepared':
      return null
    case 'waiting':
      return `${event.destination}: ${event.error.message} Nothing is lost; trying again until it works.`
    case 'resumed':
      return `${event.destination}: writing again after ${formatElapsed(event.waitedMs)}.`
    case 'rewriting':
      return (
        `${event.destination}: holds less of ${event.topic}, partition ${event.partition}, than it once did; ` +
        `writing offsets ${event.from} to ${event.until} again.`
      )
    case 'refused':
      return (
        `${event.destination}: refused ${event.count} rows of ${event.topic}, partition ${event.partition}, from ` +
        `offset ${event.offset} on (${event.reason}); they are dead letters now.`
      )
  }
}
