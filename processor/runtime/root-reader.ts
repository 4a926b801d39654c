import type { RecordBatch } from '../../log/batch.ts'
import { STRIDE, VALUE_END, VALUE_START } from '../../log/batch.ts'
import type { Row } from '../../schemas/schema.ts'
import { HEADER_BYTES, readSchemaId } from '../../schemas/wire.ts'
import type { SourceNode } from '../topology/graph.ts'
import { originOf } from '../topology/origin.ts'
import type { SubTopology } from '../topology/plan.ts'
import type { RecordContext } from './context.ts'
import { readEnvelope } from './envelope.ts'
import { RecordError } from './operators/operator.ts'
import type { InputTime } from './time.ts'

/** How the rows of an input batch become values of the sub-topology's root. */
export interface RootReader {
  /** Rewrites the context for row `index` and gives its value. @throws RecordError when no schema explains it */
  read(batch: RecordBatch, index: number, context: RecordContext): unknown
}

export interface ReaderDependencies {
  readonly partition: number
  /** Schema ids by subject. */
  readonly schemaIds: ReadonlyMap<string, number>
  readonly time: InputTime
  /** Something behind the root asks where records stand. */
  readonly needsPlaces: boolean
}

export function rootReader(sub: SubTopology, dependencies: ReaderDependencies): RootReader {
  const { root } = sub
  const { schemaIds, time, partition } = dependencies
  if (root.kind === 'window-final') return partialReader()
  // Most have nobody who asks: then no record pays for it.
  const origin = dependencies.needsPlaces ? originOf(root.name, partition) : null
  if (root.kind !== 'source') return repartitionReader(root.name, root.schema!.view(), origin)
  // Bare values have no header, and no schema was registered for them.
  if (root.foreign?.encoding === 'bare') return foreignReader(root, null, origin)
  const expected = schemaIds.get(`${sub.inputTopic}-value`)
  if (expected === undefined) throw new Error(`${root.name}: its schema is not registered`)
  if (root.foreign !== null) return foreignReader(root, expected, origin)
  const view = root.contract.sourceView()
  return {
    read(batch, index, context) {
      const { start, end } = valueRange(batch, index, root.name)
      checkSchemaId(batch, start, end, expected, root.name)
      view.$wrap(batch.buffer, start + HEADER_BYTES, end)
      context.eventTimeMs = view.$eventTimeMs
      // A positional source writes the watermark into the record; elsewhere it is the partition's.
      const carried = view.$watermarkMs
      context.watermarkMs = carried === -Infinity ? time.watermark : carried
      context.e = time.e
      context.ingestionMs = batch.timestampAt(index)
      context.keyText = undefined
      if (origin !== null) place(context, origin, batch, index)
      return view
    },
  }
}

/** Where a record stands by itself. */
function place(context: RecordContext, origin: number, batch: RecordBatch, index: number): void {
  context.origin = origin
  context.offset = batch.offsetAt(index)
  context.ordinal = 0
}

/**
 * A topic that others write: the contract's own fields, and nobody has checked them (design §7).
 * @param expected the schema id in each value's header; null: values are bare
 */
function foreignReader(
  { name, contract }: SourceNode,
  expected: number | null,
  origin: number | null,
): RootReader {
  const view = contract.schema.view()
  const { eventTime, maxAgeMs, maxAheadMs } = contract
  return {
    read(batch, index, context) {
      const { start, end } = valueRange(batch, index, name)
      if (expected !== null) checkSchemaId(batch, start, end, expected, name)
      view.$wrap(batch.buffer, start + (expected === null ? 0 : HEADER_BYTES), end)
      const ingestionMs = batch.timestampAt(index)
      const eventTimeMs = ((view as unknown as Row)[eventTime] as number | null) ?? ingestionMs
      if (eventTimeMs < ingestionMs - maxAgeMs || eventTimeMs > ingestionMs + maxAheadMs) {
        const span = eventTimeMs > ingestionMs ? 'after' : 'before'
        throw new RecordError(
          name,
          Object.assign(
            new RangeError(
              `its event time is ${Math.abs(eventTimeMs - ingestionMs)} ms ${span} its timestamp: ` +
                `the contract allows ${span === 'after' ? maxAheadMs : maxAgeMs}`,
            ),
            { field: eventTime },
          ),
        )
      }
      context.eventTimeMs = eventTimeMs
      context.ingestionMs = ingestionMs
      context.keyText = undefined
      if (origin !== null) place(context, origin, batch, index)
      return view
    },
  }
}

function checkSchemaId(batch: RecordBatch, start: number, end: number, expected: number, node: string): void {
  const id = readSchemaId(batch.buffer, start, end)
  if (id === expected) return
  throw new RecordError(node, new Error(`schema id ${id} is not this pipeline's (${expected})`))
}

function repartitionReader(
  name: string,
  view: { $wrap(buffer: Buffer, start: number, end: number): unknown },
  origin: number | null,
): RootReader {
  return {
    read(batch, index, context) {
      const { start, end } = valueRange(batch, index, name)
      if (origin !== null) place(context, origin, batch, index)
      view.$wrap(batch.buffer, readEnvelope(batch.buffer, start, context), end)
      context.keyText = undefined
      return view
    },
  }
}

function partialReader(): RootReader {
  return {
    read(batch, index, context) {
      context.keyText = null
      return batch.valueAt(index)
    },
  }
}

function valueRange(batch: RecordBatch, index: number, node: string): { start: number; end: number } {
  const row = index * STRIDE
  const end = batch.positions[row + VALUE_END]!
  if (end < 0)
    throw new RecordError(node, new Error('a record without a value (tombstone) is not allowed here'))
  return { start: batch.positions[row + VALUE_START]!, end }
}
