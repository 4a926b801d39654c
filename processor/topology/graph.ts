import type { Contract } from '../../schemas/contract.ts'
import type { Notify, TableOptions, TopicFormat } from '../../schemas/destinations.ts'
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
  /** What the author named, and its version: of the nodes that keep something for it between runs. */
  readonly owner?: Owner
}

export interface Owner {
  readonly name: string
  readonly version: number
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

/** Calls a function for its effect; the values go on as they are. */
export interface PeekNode extends NodeBase {
  readonly kind: 'peek'
  readonly input: Node
  readonly fn: (value: any) => unknown
}

/** Sends each value down the first of its cases whose function is true; what none wants goes nowhere. */
export interface BranchNode extends NodeBase {
  readonly kind: 'branch'
  readonly input: Node
  /** In order. null: whatever is left. */
  readonly cases: readonly { readonly name: string; readonly fn: ((value: any) => boolean) | null }[]
}

/** One way out of a branch. */
export interface CaseNode extends NodeBase {
  readonly kind: 'case'
  readonly input: BranchNode
  readonly index: number
}

/**
 * Several streams of one schema as one. Those of one task meet where they are; those of several meet in a topic of
 * the merge's own, by their keys: it is then the root of a sub-topology.
 */
export interface MergeNode extends NodeBase {
  readonly kind: 'merge'
  readonly inputs: readonly Node[]
  readonly meetsInTopic: boolean
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

/** Tells of stalls of a source: when nothing has come from it for a while. */
export interface StallsNode extends NodeBase {
  readonly kind: 'stalls'
  readonly input: SourceNode
  readonly afterMs: number
}

export interface SinkNode extends NodeBase {
  readonly kind: 'sink'
  readonly input: Node
  /** The sink of another stream that was written for the same destination; null: this is the first. */
  readonly sameAs: SinkNode | null
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
        /** null: nobody is told of its rows. */
        readonly notify: Notify<any> | null
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
  | PeekNode
  | BranchNode
  | CaseNode
  | MergeNode
  | StampNode
  | RepartitionNode
  | WindowNode
  | PartialWindowNode
  | FinalWindowNode
  | LateNode
  | StallsNode
  | SinkNode

/** A node whose values come from a topic: where a sub-topology begins. */
export type RootNode = SourceNode | RepartitionNode | FinalWindowNode | MergeNode

export function isRoot(node: Node): node is RootNode {
  return (
    node.kind === 'source' ||
    node.kind === 'repartition' ||
    node.kind === 'window-final' ||
    (node.kind === 'merge' && node.meetsInTopic)
  )
}

/** The root of the sub-topology that a node is in. */
export function rootOf(node: Node): RootNode {
  let at = node
  // Where no root comes between, all inputs of a merge have the same one.
  while (!isRoot(at)) at = inputsOf(at)[0]!
  return at
}

export function inputsOf(node: Node): readonly Node[] {
  if (node.kind === 'source') return []
  return node.kind === 'merge' ? node.inputs : [node.input]
}

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

/** What the pipeline says about all of its nodes. */
export interface GraphOptions {
  /** Of the aggregates that have none of their own. Default 1. */
  readonly version?: number
  /** What was removed for good. Default: nothing. */
  readonly retired?: readonly string[]
}

export class Graph {
  readonly nodes: Node[] = []
  readonly version: number
  readonly retired: ReadonlySet<string>
  readonly #names = new Set<string>()
  /** By what the author calls `to` with: one thing, however many streams go to it. */
  readonly #sinks = new Map<object, SinkNode>()
  readonly #counters = new Map<string, number>()

  constructor({ version = 1, retired = [] }: GraphOptions = {}) {
    this.version = checkedVersion(version, 'the pipeline')
    this.retired = new Set(retired)
  }

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

  /** Of each destination the first: what it is. */
  get sinks(): readonly SinkNode[] {
    return [...this.#sinks.values()]
  }

  /** The first sink of a destination. */
  sinkOf(destination: object): SinkNode | null {
    return this.#sinks.get(destination) ?? null
  }

  addSink(destination: object, node: SinkNode): void {
    this.add(node)
    if (node.sameAs === null) this.#sinks.set(destination, node)
  }

  /** A name for a node that holds no state: its kind and a number. */
  autoName(kind: string): string {
    const next = (this.#counters.get(kind) ?? 0) + 1
    this.#counters.set(kind, next)
    return `${kind}-${next}`
  }

  childrenOf(node: Node): Node[] {
    return this.nodes.filter((other) => inputsOf(other).includes(node))
  }
}

/** @throws TopologyError BAD_OPTION */
export function checkedVersion(version: number, place: string): number {
  if (Number.isSafeInteger(version) && version >= 1) return version
  throw new TopologyError('BAD_OPTION', `${place}: its version has to be 1, 2, 3, …, not ${version}.`)
}

/** What a version of something keeps is kept apart from what others kept. */
export function versionedName({ name, version }: Owner): string {
  return version === 1 ? name : `${name}-v${version}`
}
