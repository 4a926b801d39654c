import type { ByteWriter } from '../../../log/batch.ts'
import type { Schema } from '../../../schemas/schema.ts'
import { writeHeader } from '../../../schemas/wire.ts'
import type {
  FilterNode,
  FlatMapNode,
  MapNode,
  RepartitionNode,
  SelectKeyNode,
  SinkNode,
  StampNode,
} from '../../topology/graph.ts'
import type { RecordContext } from '../context.ts'
import { writeEnvelope } from '../envelope.ts'
import { RecordError, type Operator } from './operator.ts'

/** Calls a user's function; what it throws is about this record. */
function guarded<A, R>(node: string, fn: (value: A) => R): (value: A) => R {
  return (value) => {
    try {
      return fn(value)
    } catch (error) {
      throw new RecordError(node, error)
    }
  }
}

/** A stateless operator and, where something downstream keeps state, its look ahead. */
function withLookAhead(
  next: Operator,
  pass: (value: unknown, context: RecordContext, on: (value: unknown) => void) => void,
): Operator {
  const process = (value: unknown, context: RecordContext): void => {
    pass(value, context, (result) => next.process(result, context))
  }
  if (next.want === undefined) return { process }
  return { process, want: (value, context) => pass(value, context, (result) => next.want!(result, context)) }
}

export function mapOperator(node: MapNode, next: Operator): Operator {
  const fn = guarded(node.name, node.fn)
  return withLookAhead(next, (value, _, on) => on(fn(value)))
}

export function flatMapOperator(node: FlatMapNode, next: Operator): Operator {
  const fn = guarded(node.name, (value: unknown) => [...(node.fn(value) ?? [])])
  return withLookAhead(next, (value, _, on) => {
    for (const result of fn(value)) on(result)
  })
}

export function filterOperator(node: FilterNode, next: Operator): Operator {
  const fn = guarded(node.name, node.fn)
  return withLookAhead(next, (value, _, on) => {
    if (fn(value)) on(value)
  })
}

export function selectKeyOperator(node: SelectKeyNode, next: Operator): Operator {
  const fn = guarded(node.name, node.fn)
  return withLookAhead(next, (value, context, on) => {
    const before = context.keyText
    context.keyText = fn(value)
    on(value)
    context.keyText = before
  })
}

/** A view with columns more: what it stands on is copied as bytes when the record is written. */
export interface ExtendedView {
  $base: unknown
}

export function stampOperator(node: StampNode, baseIsView: boolean, next: Operator): Operator {
  const { column, input } = node
  if (!baseIsView) {
    return withLookAhead(next, (value, context, on) => on({ ...(value as object), [column]: context.nowMs }))
  }
  const stamped = extendedView(input.schema!.fields.map(({ name }) => name)) as ExtendedView &
    Record<string, unknown>
  return withLookAhead(next, (value, context, on) => {
    stamped.$base = value
    stamped[column] = context.nowMs
    on(stamped)
  })
}

/** One reusable object whose named properties are those of whatever view it stands on. */
function extendedView(columns: readonly string[]): ExtendedView {
  const view = { $base: null } as { $base: Record<string, unknown> | null; toObject?: unknown }
  for (const column of columns) {
    Object.defineProperty(view, column, { enumerable: true, get: () => view.$base![column] })
  }
  return view
}

/** How a value of this node is laid over bytes that can be copied instead of encoded again. */
export type Backing = 'object' | 'view' | 'extended-view'

interface ViewBytes {
  readonly $buffer: Buffer
  readonly $fieldsStart?: number
  readonly $start: number
  readonly $end: number
}

function writeValue(
  writer: ByteWriter,
  schema: Schema<any>,
  backing: Backing,
  value: any,
  copiedFields: number,
): void {
  if (backing === 'object') {
    schema.encode(writer, value)
    return
  }
  const view = (backing === 'view' ? value : (value as ExtendedView).$base) as ViewBytes
  const start = view.$fieldsStart ?? view.$start
  writer.ensure(view.$end - start)
  view.$buffer.copy(writer.buffer, writer.position, start, view.$end)
  writer.position += view.$end - start
  if (backing === 'extended-view') schema.encodeFrom(writer, value, copiedFields)
}

export interface TopicTarget {
  readonly topic: string
  readonly partitions: number
}

export function sinkOperator(
  node: SinkNode,
  target: TopicTarget & { schemaId: number },
  backing: Backing,
): Operator {
  const copiedFields = node.schema.fields.length - 1
  return {
    process(value, context) {
      const builder = context.beginRecord(target.topic, target.partitions)
      try {
        writeHeader(builder.writer, target.schemaId)
        writeValue(builder.writer, node.schema, backing, value, copiedFields)
      } catch (error) {
        builder.abandon()
        throw new RecordError(node.name, error)
      }
      builder.end()
    },
  }
}

export function repartitionOperator(node: RepartitionNode, target: TopicTarget, backing: Backing): Operator {
  const copiedFields = node.schema.fields.length - 1
  return {
    process(value, context) {
      const builder = context.beginRecord(target.topic, target.partitions)
      try {
        writeEnvelope(builder.writer, context)
        writeValue(builder.writer, node.schema, backing, value, copiedFields)
      } catch (error) {
        builder.abandon()
        throw new RecordError(node.name, error)
      }
      builder.end()
    },
  }
}
