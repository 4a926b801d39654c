import type { RecordBatch } from '../../log/batch.ts'
import { STRIDE, VALUE_END, VALUE_START } from '../../log/batch.ts'
import type { Row } from '../../schemas/schema.ts'
import { HEADER_BYTES, readSchemaId } from '../../schemas/wire.ts'
import type { CacheBudget } from '../state/cache-budget.ts'
import { DedupeStore } from '../state/dedupe-store.ts'
import { WindowStore } from '../state/window-store.ts'
import type { DedupeNode, LateNode, Node, SinkNode, SourceNode, WindowNode } from '../topology/graph.ts'
import type { Plan, StoreDefinition, SubTopology } from '../topology/plan.ts'
import { RowAggregate } from '../windows/row-aggregate.ts'
import type { RecordContext } from './context.ts'
import type { Counters } from './counters.ts'
import { ENVELOPE_BYTES, readEnvelope } from './envelope.ts'
import { dedupeOperator } from './operators/dedupe.ts'
import { keyBytesOf, type KeyBytes, type ViewFields } from './operators/key-bytes.ts'
import { fanOut, RecordError, type Operator } from './operators/operator.ts'
import {
  avroRows,
  filterOperator,
  flatMapOperator,
  jsonRows,
  mapOperator,
  repartitionOperator,
  selectKeyOperator,
  sinkOperator,
  stampOperator,
  type Backing,
  type TopicTarget,
} from './operators/stateless.ts'
import { FinalWindowOperator, PartialWindowOperator } from './operators/two-stages.ts'
import { SingleWindowOperator, type WindowDependencies, type WindowOperator } from './operators/window.ts'
import type { InputTime, StreamTime } from './time.ts'

/** How the rows of an input batch become values of the sub-topology's root. */
export interface RootReader {
  /** Rewrites the context for row `index` and gives its value. @throws RecordError when no schema explains it */
  read(batch: RecordBatch, index: number, context: RecordContext): unknown
}

/** Where records leave the sub-topology, with the time that goes along. */
export interface Boundary {
  readonly topic: string
  readonly partitions: number
  readonly time: StreamTime
}

export interface CompiledTask {
  readonly reader: RootReader
  readonly root: Operator
  readonly windows: readonly WindowOperator[]
  readonly dedupes: readonly { readonly name: string; readonly store: DedupeStore }[]
  readonly boundaries: readonly Boundary[]
}

export interface CompileDependencies {
  readonly plan: Plan
  /** Schema ids by subject. */
  readonly schemaIds: ReadonlyMap<string, number>
  readonly time: InputTime
  readonly budget: CacheBudget
  readonly counters: Counters
  readonly refuse: WindowDependencies['refuse']
}

/** Turns one sub-topology into operators with stores of their own, for one task. */
export function compile(sub: SubTopology, dependencies: CompileDependencies): CompiledTask {
  return new Compiler(sub, dependencies).compile()
}

class Compiler {
  readonly #sub: SubTopology
  readonly #dependencies: CompileDependencies
  readonly #windows: WindowOperator[] = []
  readonly #dedupes: { name: string; store: DedupeStore }[] = []
  readonly #boundaries: Boundary[] = []

  constructor(sub: SubTopology, dependencies: CompileDependencies) {
    this.#sub = sub
    this.#dependencies = dependencies
  }

  compile(): CompiledTask {
    const { root } = this.#sub
    const { time } = this.#dependencies
    const operator = root.kind === 'window-final' ? this.#operator(root, time) : this.#downstream(root, time)
    return {
      reader: rootReader(this.#sub, this.#dependencies),
      root:
        root.kind === 'source' && root.foreign !== null
          ? timedByRecords(operator, time, root.contract.disorderMs)
          : operator,
      // Built from the leaves up; closed from the root down.
      windows: this.#windows.reverse(),
      dedupes: this.#dedupes,
      boundaries: this.#boundaries,
    }
  }

  #downstream(node: Node, time: StreamTime): Operator {
    const { graph } = this.#dependencies.plan.pipeline
    const children = graph
      .childrenOf(node)
      .filter(
        (child) => child.kind !== 'late' && (this.#sub.nodes.includes(child) || child.kind === 'repartition'),
      )
    return fanOut(children.map((child) => this.#operator(child, time)))
  }

  #operator(node: Node, time: StreamTime): Operator {
    switch (node.kind) {
      case 'map':
        return mapOperator(node, this.#downstream(node, time))
      case 'flatMap':
        return flatMapOperator(node, this.#downstream(node, time))
      case 'filter':
        return filterOperator(node, this.#downstream(node, time))
      case 'selectKey':
        return selectKeyOperator(node, this.#downstream(node, time))
      case 'stamp':
        return stampOperator(node, backingOf(node.input) === 'view', this.#downstream(node, time))
      case 'dedupe':
        return this.#dedupe(node, time)
      case 'repartition': {
        const target = this.#target(this.#dependencies.plan.topicOf(node))
        this.#boundaries.push({ ...target, time })
        return repartitionOperator(node, target, backingOf(node.input))
      }
      case 'sink':
        return this.#sink(node)
      case 'window':
      case 'window-partial':
      case 'window-final':
        return this.#window(node, time)
      case 'source':
      case 'late':
        throw new Error(`${node.name}: a ${node.kind} is never compiled as somebody's child`)
    }
  }

  #dedupe(node: Extract<Node, { kind: 'dedupe' }>, time: StreamTime): Operator {
    const { budget, counters } = this.#dependencies
    const { id, segmentMs } = this.#storeOf(node)
    const store = new DedupeStore(id, { horizonMs: node.horizonMs, segmentMs, budget })
    this.#dedupes.push({ name: node.name, store })
    return dedupeOperator(node, keyOf(node, node.idColumns), store, counters, this.#downstream(node, time))
  }

  #window(
    node: Extract<Node, { kind: 'window' | 'window-partial' | 'window-final' }>,
    time: StreamTime,
  ): WindowOperator & Operator {
    const { budget, counters, refuse, plan } = this.#dependencies
    const { id, segmentMs } = this.#storeOf(node)
    const aggregate = new RowAggregate(node.aggregates)
    const store = new WindowStore(id, {
      sizeMs: node.windows.sizeMs,
      segmentMs,
      aggregate,
      budget,
      resident: node.kind === 'window-partial',
    })
    const dependencies: WindowDependencies = { store, aggregate, counters, time, refuse }
    // What comes after it runs on the operator's own time, which does not exist yet.
    const own: { operator: WindowOperator | null } = { operator: null }
    const passed: StreamTime = {
      get watermark() {
        return own.operator!.watermark
      },
      get e() {
        return own.operator!.e
      },
    }
    let operator: WindowOperator & Operator
    if (node.kind === 'window-partial') {
      const target = { topic: plan.topicOf(node), partitions: 1 }
      this.#boundaries.push({ ...target, time: passed })
      operator = new PartialWindowOperator(node, dependencies, this.#lateOf(node, time), target)
    } else if (node.kind === 'window') {
      operator = new SingleWindowOperator(
        node,
        dependencies,
        keyOf(node, node.keyColumns),
        this.#lateOf(node, time),
        this.#downstream(node, passed),
      )
    } else {
      operator = new FinalWindowOperator(node, dependencies, this.#downstream(node, passed))
    }
    own.operator = operator
    this.#windows.push(operator)
    return operator
  }

  #lateOf(node: Node, time: StreamTime): Operator {
    const { graph } = this.#dependencies.plan.pipeline
    const late = graph.nodes.find((other): other is LateNode => other.kind === 'late' && other.input === node)
    return late === undefined ? fanOut([]) : this.#downstream(late, time)
  }

  #sink(node: SinkNode): Operator {
    const { plan, schemaIds } = this.#dependencies
    const target = this.#target(plan.topicOf(node))
    const { destination } = node
    if (destination.kind === 'topic' && destination.format === 'json') {
      return sinkOperator(node, target, jsonRows(node))
    }
    const schemaId = schemaIds.get(`${target.topic}-value`)
    if (schemaId === undefined) throw new Error(`${node.name}: its schema is not registered`)
    return sinkOperator(node, target, avroRows(node, schemaId, backingOf(node.input)))
  }

  #target(topic: string): TopicTarget {
    const spec = this.#dependencies.plan.topics.find(({ name }) => name === topic)!
    return { topic, partitions: spec.partitions }
  }

  #storeOf(node: Node): StoreDefinition {
    return this.#sub.stores.find((store) => store.node === node)!
  }
}

/** What a node's values are made of, so that their bytes can be copied on (see writeValue). */
function backingOf(node: Node): Backing {
  const view = viewFieldsOf(node)
  if (view === null) return 'object'
  return view.isExtended ? 'extended-view' : 'view'
}

/** The bytes of some columns of a node's input, which has them. */
function keyOf({ input }: DedupeNode | WindowNode, columns: readonly string[]): KeyBytes {
  const fields = columns.map((column) => input.schema!.fields.find(({ name }) => name === column)!)
  return keyBytesOf(fields, viewFieldsOf(input))
}

/** What a node's values lie over. */
function viewFieldsOf(node: Node): ViewFields | null {
  switch (node.kind) {
    case 'source': {
      const { schema, sourceSchema } = node.contract
      return { fields: (node.foreign === null ? sourceSchema : schema).fields, isExtended: false }
    }
    case 'repartition':
      return { fields: node.schema.fields, isExtended: false }
    case 'dedupe':
    case 'filter':
    case 'selectKey':
      return viewFieldsOf(node.input)
    case 'stamp': {
      const base = viewFieldsOf(node.input)
      return base === null || base.isExtended ? null : { ...base, isExtended: true }
    }
    default:
      return null
  }
}

function rootReader(sub: SubTopology, { schemaIds, time }: CompileDependencies): RootReader {
  const { root } = sub
  if (root.kind === 'window-final') return partialReader()
  if (root.kind === 'repartition') return repartitionReader(root.name, root.schema.view())
  // Bare values have no header, and no schema was registered for them.
  if (root.foreign?.encoding === 'bare') return foreignReader(root, null)
  const expected = schemaIds.get(`${sub.inputTopic}-value`)
  if (expected === undefined) throw new Error(`${root.name}: its schema is not registered`)
  if (root.foreign !== null) return foreignReader(root, expected)
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
      return view
    },
  }
}

/**
 * A topic that others write: the contract's own fields, and nobody has checked them (design §7).
 * @param expected the schema id in each value's header; null: values are bare
 */
function foreignReader({ name, contract }: SourceNode, expected: number | null): RootReader {
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
      return view
    },
  }
}

/**
 * Each record carries the watermark that the ones before it made. Apart from the reader, which also looks ahead:
 * time may move only with what is processed.
 */
function timedByRecords(next: Operator, time: InputTime, disorderMs: number): Operator {
  return {
    process(value, context) {
      context.watermarkMs = time.watermark
      context.e = time.e
      time.advanceTo(context.eventTimeMs - disorderMs)
      next.process(value, context)
    },
    ...(next.want === undefined
      ? {}
      : { want: (value: unknown, context: RecordContext) => next.want!(value, context) }),
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
): RootReader {
  return {
    read(batch, index, context) {
      const { start, end } = valueRange(batch, index, name)
      readEnvelope(batch.buffer, start, context)
      view.$wrap(batch.buffer, start + ENVELOPE_BYTES, end)
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
