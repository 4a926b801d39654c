import type { CacheBudget } from '../state/cache-budget.ts'
import { DedupeStore } from '../state/dedupe-store.ts'
import { WindowStore } from '../state/window-store.ts'
import type {
  BranchNode,
  CaseNode,
  Graph,
  LateNode,
  MergeNode,
  Node,
  RepartitionNode,
  SinkNode,
  StallsNode,
} from '../topology/graph.ts'
import { originOf } from '../topology/origin.ts'
import type { Plan, StoreDefinition, SubTopology } from '../topology/plan.ts'
import { RowAggregate } from '../windows/row-aggregate.ts'
import { backingOf, keyOf } from './backing.ts'
import type { RecordContext } from './context.ts'
import type { Counters } from './counters.ts'
import { dedupeOperator } from './operators/dedupe.ts'
import { fanOut, type Operator, type RecordError } from './operators/operator.ts'
import {
  avroRows,
  branchOperator,
  filterOperator,
  flatMapOperator,
  jsonRows,
  mapOperator,
  peekOperator,
  repartitionOperator,
  selectKeyOperator,
  sinkOperator,
  stampOperator,
  type TopicTarget,
} from './operators/stateless.ts'
import { StallsOperator } from './operators/stalls.ts'
import { FinalWindowOperator, PartialWindowOperator } from './operators/two-stages.ts'
import { SingleWindowOperator, type WindowDependencies, type WindowOperator } from './operators/window.ts'
import { rootReader, type RootReader } from './root-reader.ts'
import { MergedTime, type InputTime, type StreamTime } from './time.ts'

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
  /** Those that tell of stalls in this task: a source's heartbeats are in all of its partitions, and one tells. */
  readonly stalls: readonly StallsOperator[]
  readonly boundaries: readonly Boundary[]
}

export interface CompileDependencies {
  readonly plan: Plan
  /** Schema ids by subject. */
  readonly schemaIds: ReadonlyMap<string, number>
  readonly time: InputTime
  readonly budget: CacheBudget
  readonly counters: Counters
  readonly refuse: (error: RecordError, atMs: number, row: unknown) => void
  readonly partition: number
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
  /** Merges that something has led to: what is behind them is there once. */
  readonly #merged = new Map<MergeNode, { readonly operator: Operator; readonly time: MergedTime }>()

  constructor(sub: SubTopology, dependencies: CompileDependencies) {
    this.#sub = sub
    this.#dependencies = dependencies
  }

  compile(): CompiledTask {
    const { root } = this.#sub
    const { time } = this.#dependencies
    const operator =
      root.kind === 'window-final' ? this.#operator(root, root.input, time) : this.#downstream(root, time)
    const stalls = this.#stalls(time)
    return {
      reader: rootReader(this.#sub, {
        ...this.#dependencies,
        needsPlaces: needsPlaces(this.#dependencies.plan.pipeline.graph, root),
      }),
      root:
        root.kind === 'source' && root.foreign !== null
          ? timedByRecords(operator, time, root.contract.disorderMs)
          : operator,
      // Built from the leaves up; closed from the root down.
      windows: this.#windows.reverse(),
      dedupes: this.#dedupes,
      stalls: this.#dependencies.partition === 0 ? stalls : [],
      boundaries: this.#boundaries,
    }
  }

  #downstream(node: Node, time: StreamTime): Operator {
    const { graph } = this.#dependencies.plan.pipeline
    const children = graph
      .childrenOf(node)
      .filter(({ kind }) => kind !== 'late' && kind !== 'window-final' && kind !== 'stalls')
    return fanOut(children.map((child) => this.#operator(child, node, time)))
  }

  /** @param from the one of its inputs that leads to it */
  #operator(node: Node, from: Node, time: StreamTime): Operator {
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
      case 'peek':
        return peekOperator(node, this.#downstream(node, time))
      case 'branch':
        return branchOperator(node, this.#cases(node, time))
      case 'merge':
        return node.meetsInTopic ? this.#boundary(node, from, time) : this.#merge(node, time)
      case 'dedupe':
        return this.#dedupe(node, time)
      case 'repartition':
        return this.#boundary(node, from, time)
      case 'sink':
        return this.#sink(node)
      case 'window':
      case 'window-partial':
      case 'window-final':
        return this.#window(node, time)
      case 'source':
      case 'late':
      case 'stalls':
      case 'case':
        throw new Error(`${node.name}: a ${node.kind} is never compiled as somebody's child`)
    }
  }

  #cases(node: BranchNode, time: StreamTime): Operator[] {
    const { graph } = this.#dependencies.plan.pipeline
    const cases = graph.nodes.filter(
      (other): other is CaseNode => other.kind === 'case' && other.input === node,
    )
    return cases.map((branch) => this.#downstream(branch, time))
  }

  #merge(node: MergeNode, time: StreamTime): Operator {
    let merged = this.#merged.get(node)
    if (merged === undefined) {
      const all = new MergedTime()
      merged = { operator: this.#downstream(node, all), time: all }
      this.#merged.set(node, merged)
    }
    merged.time.times.push(time)
    return merged.operator
  }

  #boundary(node: RepartitionNode | MergeNode, from: Node, time: StreamTime): Operator {
    const { plan } = this.#dependencies
    const target = this.#target(plan.topicOf(node))
    const known = this.#boundaries.find(({ topic }) => topic === target.topic)
    if (known === undefined) {
      const all = new MergedTime()
      all.times.push(time)
      this.#boundaries.push({ ...target, time: all })
    } else {
      // A task promises once what all of its streams into a merge keep.
      ;(known.time as MergedTime).times.push(time)
    }
    const withPlaces = needsPlaces(plan.pipeline.graph, node)
    return repartitionOperator(node, { ...target, withPlaces }, backingOf(from))
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
    const { budget, counters, refuse, plan, partition } = this.#dependencies
    const { id, segmentMs } = this.#storeOf(node)
    const aggregate = new RowAggregate(node.aggregates)
    const store = new WindowStore(id, {
      sizeMs: node.windows.sizeMs,
      segmentMs,
      aggregate,
      budget,
      resident: node.kind === 'window-partial',
    })
    const origin = originOf(node.name, partition)
    const dependencies: WindowDependencies = { store, aggregate, counters, time, refuse, origin }
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

  /** In each partition, since what is behind them promises time in each. */
  #stalls(time: InputTime): StallsOperator[] {
    const { counters, refuse, partition } = this.#dependencies
    const nodes = this.#sub.nodes.filter((node): node is StallsNode => node.kind === 'stalls')
    return nodes.map((node) => {
      const origin = originOf(node.name, partition)
      return new StallsOperator(node, { time, counters, origin, refuse }, this.#downstream(node, time))
    })
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

/** Whether an aggregate that orders records is reached before anything that gives rows of its own. */
function needsPlaces(graph: Graph, node: Node): boolean {
  return graph.childrenOf(node).some((child) => {
    if (child.kind === 'window' || child.kind === 'window-partial') {
      if (Object.values(child.aggregates).some((aggregate) => aggregate.needsPlaces)) return true
      return graph.childrenOf(child).some((late) => late.kind === 'late' && needsPlaces(graph, late))
    }
    return needsPlaces(graph, child)
  })
}
