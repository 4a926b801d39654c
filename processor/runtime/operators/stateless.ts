import type { ByteWriter } from '../../../log/batch.ts'
import { generateJson } from '../../../schemas/codec/json.ts'
import type { Row, Schema } from '../../../schemas/schema.ts'
import { writeHeader } from '../../../schemas/wire.ts'
import type {
  BranchNode,
  FilterNode,
  FlatMapNode,
  MapNode,
  MergeNode,
  PeekNode,
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

const DROPPED = Symbol('dropped')

/**
 * An operator that gives one value, or {@link DROPPED}, for each; with its look ahead where
 * something downstream keeps state. Nothing is allocated a record.
 */
function onEach(next: Operator, transform: (value: unknown, context: RecordContext) => unknown): Operator {
  const operator: Operator = {
    process(value, context) {
      const result = transform(value, context)
      if (result !== DROPPED) next.process(result, context)
    },
  }
  if (next.want === undefined) return operator
  operator.want = (value, context) => {
    const result = transform(value, context)
    if (result !== DROPPED) next.want!(result, context)
  }
  return operator
}

export function mapOperator(node: MapNode, next: Operator): Operator {
  return onEach(next, guarded(node.name, node.fn))
}

export function filterOperator(node: FilterNode, next: Operator): Operator {
  const keeps = guarded(node.name, node.fn)
  return onEach(next, (value) => (keeps(value) ? value : DROPPED))
}

/** Where in the order of a record's values those stand that one of them becomes. */
const ORDINALS = 1_024

export function flatMapOperator(node: FlatMapNode, next: Operator): Operator {
  const fn = guarded(node.name, (value: unknown) => [...(node.fn(value) ?? [])])
  const operator: Operator = {
    process(value, context) {
      const { ordinal } = context
      let number = ordinal * ORDINALS
      for (const result of fn(value)) {
        context.ordinal = number++
        next.process(result, context)
      }
      context.ordinal = ordinal
    },
  }
  if (next.want === undefined) return operator
  operator.want = (value, context) => {
    for (const result of fn(value)) next.want!(result, context)
  }
  return operator
}

/** Looking ahead goes past it: nothing has happened yet. */
export function peekOperator(node: PeekNode, next: Operator): Operator {
  const fn = guarded(node.name, node.fn)
  const operator: Operator = {
    process(value, context) {
      fn(value)
      next.process(value, context)
    },
  }
  if (next.want === undefined) return operator
  operator.want = (value, context) => next.want!(value, context)
  return operator
}

/** @param cases the ways out, in the node's order */
export function branchOperator(node: BranchNode, cases: readonly Operator[]): Operator {
  const predicates = node.cases.map(({ name, fn }) =>
    fn === null ? () => true : guarded(`${node.name}.${name}`, fn),
  )
  const caseOf = (value: unknown): Operator | undefined => {
    for (let i = 0; i < predicates.length; i++) if (predicates[i]!(value)) return cases[i]
    return undefined
  }
  const operator: Operator = { process: (value, context) => caseOf(value)?.process(value, context) }
  if (cases.every(({ want }) => want === undefined)) return operator
  operator.want = (value, context) => caseOf(value)?.want?.(value, context)
  return operator
}

export function selectKeyOperator(node: SelectKeyNode, next: Operator): Operator {
  const keyOf = guarded(node.name, node.fn)
  const operator: Operator = {
    process(value, context) {
      const before = context.keyText
      context.keyText = keyOf(value)
      next.process(value, context)
      // Siblings of this branch have the record's own key.
      context.keyText = before
    },
  }
  if (next.want === undefined) return operator
  operator.want = (value, context) => next.want!(value, context)
  return operator
}

/** A value as an object whose columns are its own: a view's are not. */
export function plainOf(value: unknown): object {
  const view = value as { toObject?(): object }
  return typeof view.toObject === 'function' ? view.toObject() : view
}

/** A view with columns more: what it stands on is copied as bytes when the record is written. */
export interface ExtendedView {
  $base: unknown
}

export function stampOperator(node: StampNode, baseIsView: boolean, next: Operator): Operator {
  const { column, input } = node
  if (!baseIsView) {
    return onEach(next, (value, context) => ({ ...plainOf(value), [column]: context.nowMs }))
  }
  const stamped = extendedView(input.schema!.fields.map(({ name }) => name)) as ExtendedView &
    Record<string, unknown>
  return onEach(next, (value, context) => {
    stamped.$base = value
    stamped[column] = context.nowMs
    return stamped
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
    schema.encode(writer, value as Row)
    return
  }
  const view = (backing === 'view' ? value : (value as ExtendedView).$base) as ViewBytes
  const start = view.$fieldsStart ?? view.$start
  writer.ensure(view.$end - start)
  view.$buffer.copy(writer.buffer, writer.position, start, view.$end)
  writer.position += view.$end - start
  if (backing === 'extended-view') schema.encodeFrom(writer, value as Row, copiedFields)
}

export interface TopicTarget {
  readonly topic: string
  readonly partitions: number
}

type WriteRow = (writer: ByteWriter, value: unknown) => void

/** Avro behind the registry's header. */
export function avroRows(node: SinkNode, schemaId: number, backing: Backing): WriteRow {
  const copiedFields = node.schema.fields.length - 1
  return (writer, value) => {
    writeHeader(writer, schemaId)
    writeValue(writer, node.schema, backing, value, copiedFields)
  }
}

export function jsonRows({ schema }: SinkNode): WriteRow {
  const write = generateJson(schema.name, schema.fields)
  return (writer, value) => write(writer, value as Row)
}

export function sinkOperator(node: SinkNode, target: TopicTarget, write: WriteRow): Operator {
  return {
    process(value, context) {
      const builder = context.beginRecord(target.topic, target.partitions)
      try {
        write(builder.writer, value)
      } catch (error) {
        builder.abandon()
        throw new RecordError(node.name, error)
      }
      builder.end()
    },
  }
}

export interface BoundaryTarget extends TopicTarget {
  /** Something behind it asks for the places of records. */
  readonly withPlaces: boolean
}

export function repartitionOperator(
  node: RepartitionNode | MergeNode,
  target: BoundaryTarget,
  backing: Backing,
): Operator {
  const schema = node.schema!
  const copiedFields = schema.fields.length - 1
  return {
    process(value, context) {
      const builder = context.beginRecord(target.topic, target.partitions)
      try {
        writeEnvelope(builder.writer, context, target.withPlaces)
        writeValue(builder.writer, schema, backing, value, copiedFields)
      } catch (error) {
        builder.abandon()
        throw new RecordError(node.name, error)
      }
      builder.end()
    },
  }
}
