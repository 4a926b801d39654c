import type { Contract } from '../../schemas/contract.ts'
import type { TableOptions, TopicFormat } from '../../schemas/destinations.ts'
import type { Schema } from '../../schemas/schema.ts'
import type { Aggregate } from '../windows/aggregates.ts'
import type { TumblingWindows } from '../windows/tumbling.ts'

export type AnySchema = Schema<any>
export type AnyContract = Contract<any>

interface NodeBase {
  /** Unique in the topology and stable over edits elsewhere where state hangs on it. */
  readonly name: string
  /** null: the stream's values have no schema and cannot leave their task. */
  readonly schema: AnySchema | null
}

export interface SourceNode extends NodeBase {
  readonly kind: 'source'
  /** The logical name, bound by configuration. */
  readonly topic: string
  readonly contract: AnyContract
  /** null: it is written by our own sources, under the application's name. */
  readonly foreign: ForeignTopic | null
}

/** A topic that others write: no heartbeats, no leading columns, no checks before it. */
export interface ForeignTopic {
  /** Its full name. */
  readonly topic: string
  readonly encoding: ForeignEncoding
}

/** Avro of the contract's fields: behind the registry's header, or bare. */
export type ForeignEncoding = 'registry' | 'bare'

/** Drops records whose id was seen with an ingestion time within the horizon. The first by offset wins. */
export interface DedupeNode extends NodeBase {
  readonly kind: 'dedupe'
  readonly input: Node
  readonly horizonMs: number
  /** Unambiguous text of what makes a record the same as another. */
  readonly id: (value: any) => string
  readonly idColumns: readonly string[]
}

export interface MapNode extends NodeBase {
  readonly kind: 'map'
  readonly input: Node
  readonly fn: (value: any) => unknown
}

export interface FlatMapNode extends NodeBase {
  readonly kind: 'flatMap'
  readonly input: Node
  readonly fn: (value: any) => Iterable<unknown> | null | undefined
}

export interface FilterNode extends NodeBase {
  readonly kind: 'filter'
  readonly input: Node
  readonly fn: (value: any) => boolean
}

/** Gives each record another key; what needs records of one key together then repartitions. */
export interface SelectKeyNode extends NodeBase {
  readonly kind: 'selectKey'
  readonly input: Node
  readonly fn: (value: any) => string
}

/** Adds the processor's wall clock as a column. */
export interface StampNode extends NodeBase {
  readonly kind: 'stamp'
  readonly input: Node
  readonly column: string
}

/** A boundary between sub-topologies: records go through a topic, by their key. */
export interface RepartitionNode extends NodeBase {
  readonly kind: 'repartition'
  readonly input: Node
  readonly schema: AnySchema
}

/**
 * When an aggregate gives its rows: `final`, one for each window when it has closed; `updates`, one with
 * each commit for each window that has changed since the last.
 */
export type Emit = 'final' | 'updates'

interface WindowNodeBase extends NodeBase {
  readonly windows: TumblingWindows
  readonly emit: Emit
  readonly aggregates: Readonly<Record<string, Aggregate<any, unknown>>>
  readonly keyColumns: readonly string[]
  readonly schema: AnySchema
}

/** A windowed aggregate in one stage: the records of a key are all in one task. */
export interface WindowNode extends WindowNodeBase {
  readonly kind: 'window'
  readonly input: Node
}

/** First stage of a keyless aggregate: each task folds its own records, and hands partials on. */
export interface PartialWindowNode extends WindowNodeBase {
  readonly kind: 'window-partial'
  readonly input: Node
}

/** Second stage: one task merges the partials, the latest of each upstream task. */
export interface FinalWindowNode extends WindowNodeBase {
  readonly kind: 'window-final'
  readonly input: PartialWindowNode
}

/** What came too late for its window, with its mark. */
export interface LateNode extends NodeBase {
  readonly kind: 'late'
  readonly input: WindowNode | PartialWindowNode
}

export interface SinkNode extends NodeBase {
  readonly kind: 'sink'
  readonly input: Node
  readonly destination:
    | {
        readonly kind: 'table'
        readonly name: string
        readonly options: TableOptions<never>
        /** The columns by which a row replaces the one before it. null: rows are appended. */
        readonly key: readonly string[] | null
      }
    | {
        readonly kind: 'topic'
        readonly name: string
        readonly format: TopicFormat
        /** null: one of the application's. */
        readonly topic: string | null
        readonly descriptions: Readonly<Record<string, string>>
      }
  readonly schema: AnySchema
}

export type Node =
  | SourceNode
  | DedupeNode
  | MapNode
  | FlatMapNode
  | FilterNode
  | SelectKeyNode
  | StampNode
  | RepartitionNode
  | WindowNode
  | PartialWindowNode
  | FinalWindowNode
  | LateNode
  | SinkNode

/** The pipeline is wrong as written; said before anything starts. */
export class TopologyError extends Error {
  readonly code:
    | 'DUPLICATE_NAME'
    | 'SCHEMA_MISSING'
    | 'NO_SOURCE'
    | 'BAD_OPTION'
    | 'NOT_ON_UPDATES'
    | 'INCOMPATIBLE_TOPOLOGY'

  constructor(code: TopologyError['code'], message: string) {
    super(message)
    this.name = 'TopologyError'
    this.code = code
  }
}

export class Graph {
  readonly nodes: Node[] = []
  readonly #names = new Set<string>()
  readonly #counters = new Map<string, number>()

  /** @throws TopologyError DUPLICATE_NAME */
  add<N extends Node>(node: N): N {
    if (this.#names.has(node.name)) {
      throw new TopologyError(
        'DUPLICATE_NAME',
        // The first stage of a keyless aggregate carries a name that nobody wrote.
        `Two nodes are named '${node.kind === 'window-partial' ? node.name.replace(/-partial$/, '') : node.name}'. Names must be unique in a pipeline: rename one of them.`,
      )
    }
    this.#names.add(node.name)
    this.nodes.push(node)
    return node
  }

  /** A name for a node that holds no state: its kind and a number. */
  autoName(kind: string): string {
    const next = (this.#counters.get(kind) ?? 0) + 1
    this.#counters.set(kind, next)
    return `${kind}-${next}`
  }

  childrenOf(node: Node): Node[] {
    return this.nodes.filter((other) => 'input' in other && other.input === node)
  }
}
