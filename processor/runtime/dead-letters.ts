import type { Clock } from '../../config/clock.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import { writeHeader } from '../../schemas/wire.ts'
import type { Plan } from '../topology/plan.ts'
import type { Outputs } from './outputs.ts'

export interface Refusal {
  /** The topic, or the windowed operator whose result was refused. */
  readonly source: string
  readonly partition: number
  /** The offset, or the window's start. */
  readonly position: number
  readonly error: Error
  readonly payload: Uint8Array
}

/** What a task cannot process goes to `<application>.dead-letters`, in the task's own transaction. */
export class DeadLetters {
  readonly #plan: Plan
  readonly #outputs: Outputs
  readonly #schemaId: number
  readonly #clock: Clock

  constructor(plan: Plan, outputs: Outputs, schemaIds: ReadonlyMap<string, number>, clock: Clock) {
    this.#plan = plan
    this.#outputs = outputs
    this.#clock = clock
    const schemaId = schemaIds.get(`${plan.deadLetterTopic}-value`)
    if (schemaId === undefined) throw new Error(`${plan.deadLetterTopic}: its schema is not registered`)
    this.#schemaId = schemaId
  }

  add({ source, partition, position, error, payload }: Refusal): void {
    const builder = this.#outputs.builder(this.#plan.deadLetterTopic, partition % this.#plan.partitions)
    builder.beginKey()
    builder.beginValue(true)
    writeHeader(builder.writer, this.#schemaId)
    deadLetterSchema.encode(builder.writer, {
      pipeline: this.#plan.pipeline.name,
      source,
      partition,
      position,
      reason: error.message,
      field: (error as { field?: string | null }).field ?? null,
      payload: Buffer.from(payload),
      failed_at: this.#clock.nowMs(),
    })
    builder.end()
  }
}
