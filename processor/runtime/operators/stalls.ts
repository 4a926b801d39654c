import type { StallsNode } from '../../topology/graph.ts'
import type { Stall } from '../../topology/stalls.ts'
import type { RecordContext } from '../context.ts'
import type { Counters } from '../counters.ts'
import type { InputTime } from '../time.ts'
import { RecordError, type Operator } from './operator.ts'

export interface StallDependencies {
  readonly time: InputTime
  readonly counters: Counters
  /** Stands for the operator's rows in the order of records. */
  readonly origin: number
  /** Called with what went wrong downstream of a stall. */
  readonly refuse: (error: RecordError, sinceMs: number, row: unknown) => void
}

/**
 * Says once of each stall of a source that nothing comes: by the wall clock, since event time stands still with it.
 * Which stall was told of moves in the task record, so that a crash repeats and loses none.
 */
export class StallsOperator {
  readonly name: string
  readonly #source: string
  readonly #afterMs: number
  readonly #dependencies: StallDependencies
  readonly #next: Operator
  /** Ingestion time of what came last before the stall that was told of. */
  #toldMs = -Infinity

  constructor({ name, input, afterMs }: StallsNode, dependencies: StallDependencies, next: Operator) {
    this.name = name
    this.#source = input.name
    this.#afterMs = afterMs
    this.#dependencies = dependencies
    this.#next = next
  }

  /** @param quietMs how long nothing has come while it could have */
  isDue(quietMs: number): boolean {
    const { ingested, isEnded } = this.#dependencies.time
    return quietMs >= this.#afterMs && !isEnded && ingested > this.#toldMs
  }

  tell(context: RecordContext): void {
    const { time, counters, origin, refuse } = this.#dependencies
    const sinceMs = time.ingested
    this.#toldMs = sinceMs
    counters.add(`${this.name}.stalls`, 1)
    context.useKeyText(null)
    context.eventTimeMs = context.nowMs
    // Made here, and by the wall clock: late for nothing.
    context.watermarkMs = -Infinity
    context.e = -Infinity
    context.origin = origin
    context.offset = sinceMs
    context.ordinal = 0
    const row: Stall = { source: this.#source, since: sinceMs, noticed_at: context.nowMs }
    try {
      this.#next.process(row, context)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      refuse(error, sinceMs, row)
    }
  }

  /** For the task record; null: none was told of. */
  progress(): number | null {
    return this.#toldMs === -Infinity ? null : this.#toldMs
  }

  /** @param toldMs as {@link progress} gave it; undefined: the task stood here before the operator was there */
  restore(toldMs: number | null | undefined): void {
    // What was silent before it was there, perhaps since it has ended, is none of its stalls.
    this.#toldMs = toldMs === undefined ? this.#dependencies.time.ingested : (toldMs ?? -Infinity)
  }
}
