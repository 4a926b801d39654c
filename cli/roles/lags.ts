import type { Log } from '../../log/port.ts'
import { processingLags } from '../../processor/runtime/lag.ts'
import type { Plan } from '../../processor/topology/plan.ts'

interface LaggingSink {
  readonly name: string
  readonly runner: { lag(): Promise<number> }
}

/** How far each part behind the sources is back, in offsets. */
export class Lags {
  readonly #log: Log
  readonly #plan: Plan
  readonly #sinks: readonly LaggingSink[]
  #byTopic: ReadonlyMap<string, number> = new Map()
  #bySink: ReadonlyMap<string, number> = new Map()

  constructor(log: Log, plan: Plan, sinks: readonly LaggingSink[]) {
    this.#log = log
    this.#plan = plan
    this.#sinks = sinks
  }

  /** @returns how far the slowest way is back */
  async look(): Promise<number> {
    const [byTopic, ...rows] = await Promise.all([
      processingLags(this.#log, this.#plan),
      ...this.#sinks.map(({ runner }) => runner.lag()),
    ])
    this.#byTopic = byTopic
    this.#bySink = new Map(this.#sinks.map(({ name }, i) => [name, rows[i]!]))
    return [...byTopic.values()].reduce((sum, lag) => sum + lag, 0) + Math.max(0, ...rows)
  }

  /** Of an input topic, at the last look. */
  ofTopic(topic: string): number {
    return this.#byTopic.get(topic) ?? 0
  }

  /** Of a sink, at the last look. */
  ofSink(name: string): number {
    return this.#bySink.get(name) ?? 0
  }
}
