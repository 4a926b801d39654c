import { randomBytes } from 'node:crypto'
import type { Clock } from '../../config/clock.ts'
import type { Log } from '../../log/port.ts'
import type { Plan } from '../../processor/topology/plan.ts'
import { deadLetterDescriptions, deadLetterSchema } from '../../schemas/dead-letter.ts'
import type { SchemaRegistry } from '../../schemas/registry.ts'
import type { Warehouse } from '../../sinks/local/warehouse.ts'
import { SinkRunner, type SinkEvent } from '../../sinks/runner.ts'
import type { Logger } from '../../telemetry/log.ts'
import { formatElapsed } from '../format.ts'
import type { LoadedPipeline } from '../pipelines.ts'

/** All sinks of a pipeline share one process, so each gets less memory than it would take alone. */
const LIMITS = { maxRows: 10_000, maxBytes: 2 * 2 ** 20, maxHeldBytes: 6 * 2 ** 20 }

export interface BoundSink {
  readonly name: string
  /** Of the warehouse; else it is a consumer beside it. */
  readonly isTable: boolean
  readonly runner: SinkRunner
}

export interface SinksOptions {
  readonly log: Log
  readonly registry: SchemaRegistry
  readonly plan: Plan
  readonly loaded: LoadedPipeline
  readonly warehouse: Warehouse
  /** null: a random one. */
  readonly instance: string | null
  readonly clock: Clock
  readonly logger: Logger
  readonly notice: (message: string) => void
  /** Told what happens to the sinks. Default: nobody. */
  readonly tell?: (event: SinkEvent) => void
}

/** A runner for every table of the pipeline, for its dead letters, and for what consumes its topics. */
export function openSinks(options: SinksOptions): BoundSink[] {
  const { log, registry, plan, loaded, warehouse, clock, logger, notice } = options
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
    ...plan.sinks.map(({ topic, table }) => ({ topic, isTable: true, sink: warehouse.sink(table) })),
    { topic: plan.deadLetterTopic, isTable: true, sink: warehouse.sink(deadLetters) },
    ...loaded.consumers.map(({ topic, sink }) => ({
      topic: `${plan.application}.${topic}`,
      isTable: false,
      sink: sink({ log: logger, clock }),
    })),
  ].map(({ topic, isTable, sink }) => {
    return { name: sink.destination, isTable, runner: new SinkRunner({ ...common, topic, sink }) }
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
