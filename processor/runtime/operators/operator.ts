import type { RecordContext } from '../context.ts'

/** One step of a compiled sub-topology. Everything below `process` is synchronous. */
export interface Operator {
  process(value: unknown, context: RecordContext): void
  /**
   * Follows the value as far as state is touched and asks for what will be needed, without effect.
   * Absent where nothing downstream keeps state.
   */
  want?(value: unknown, context: RecordContext): void
}

/** A value could not be processed. The record goes to dead letters; the task goes on. */
export class RecordError extends Error {
  readonly code = 'RECORD_REFUSED'
  readonly node: string
  readonly field: string | null

  constructor(node: string, cause: unknown) {
    const message = cause instanceof Error ? cause.message : String(cause)
    super(`${node}: ${message}`, { cause })
    this.name = 'RecordError'
    this.node = node
    this.field = (cause as { field?: string } | null)?.field ?? null
  }
}

/** Several downstream operators as one. */
export function fanOut(operators: readonly Operator[]): Operator {
  if (operators.length === 1) return operators[0]!
  const wanting = operators.filter((operator) => operator.want !== undefined)
  return {
    process(value, context) {
      for (const operator of operators) operator.process(value, context)
    },
    ...(wanting.length === 0
      ? {}
      : {
          want(value: unknown, context: RecordContext) {
            for (const operator of wanting) operator.want!(value, context)
          },
        }),
  }
}
