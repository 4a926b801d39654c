import type { Contract } from '../../schemas/contract.ts'
import { topic } from '../../schemas/destinations.ts'
import { parseDurationMs, type Duration } from '../../schemas/duration.ts'
import type { Row } from '../../schemas/schema.ts'
import { Graph, TopologyError, type ForeignEncoding, type LateNode, type Node } from './graph.ts'
import { Stream } from './stream.ts'

export interface SourceOptions {
  /**
   * Copies of a record no further apart in ingestion than this are dropped. Default 24 h; for a topic that
   * others write none are looked for unless it is given.
   */
  readonly dedupeHorizon?: Duration
  /**
   * The full name of a topic that others write. Its values are Avro of the contract's fields, its keys the
   * contract's. It has no heartbeats: the greatest event time so far of each partition, less the contract's
   * `disorder`, is its watermark. Events outside of `maxAge` and `maxAhead`, counted from the record's
   * timestamp, become dead letters. Default: the application's own, filled by the source's input.
   */
  readonly topic?: string
  /** Of a topic that others write: whether values begin with the registry's header. Default `registry`. */
  readonly encoding?: ForeignEncoding
}

export interface Source<T> {
  readonly topic: string
  readonly contract: Contract<T>
  readonly options: SourceOptions
}

/** A logical source, bound by configuration to files, a generator, a subscription or a topic. */
export function source<T>(topicName: string, contract: Contract<T>, options: SourceOptions = {}): Source<T> {
  return { topic: topicName, contract, options }
}

type Streams<S> = { [K in keyof S]: S[K] extends Source<infer T> ? Stream<T> : never }

export interface PipelineDefinition<S extends Record<string, Source<any>>> {
  /** Also the application's name: topics, groups and state are named after it. */
  readonly name: string
  /** Dataset for topics that become tables (embedded); default: the name. */
  readonly dataset?: string
  readonly sources: S
  /**
   * To be raised when a function changes that results hang on, which nobody can see from outside: every aggregate
   * that has no version of its own then begins anew. Default 1.
   */
  readonly version?: number
  /**
   * Names of sources, aggregates, dedupes, repartitions and merges that were removed (or renamed) for good. Without
   * it a pipeline that lacks what its state was written for is refused, since what was open in it gets lost.
   */
  readonly retired?: readonly string[]
  build(streams: Streams<S>): void
  /** Named SQL for `millrace query`. */
  readonly queries?: Readonly<Record<string, NamedQuery>>
}

export interface NamedQuery {
  readonly description: string
  readonly sql: string
}

export interface Pipeline {
  readonly name: string
  readonly dataset: string
  readonly sources: Readonly<Record<string, Source<any>>>
  readonly queries: Readonly<Record<string, NamedQuery>>
  readonly graph: Graph
}

const NAME = /^[a-z][a-z0-9_-]*$/

/**
 * A pipeline as one value; its topology is built and checked here.
 * @throws TopologyError when it cannot run as written
 */
export function definePipeline<const S extends Record<string, Source<any>>>(
  definition: PipelineDefinition<S>,
): Pipeline {
  const { name } = definition
  if (!NAME.test(name)) {
    throw new TopologyError(
      'BAD_OPTION',
      `pipeline name '${name}': use lower-case letters, digits, '-' and '_'.`,
    )
  }
  const graph = new Graph(definition)
  const streams: Record<string, Stream<unknown>> = {}
  for (const [key, source] of Object.entries(definition.sources)) streams[key] = addSource(graph, key, source)
  if (Object.keys(streams).length === 0) {
    throw new TopologyError('NO_SOURCE', `pipeline '${name}' has no source: give it one in 'sources'.`)
  }
  definition.build(streams as Streams<S>)
  routeLateStreams(graph)
  checkRetired(graph)
  return {
    name,
    dataset: definition.dataset ?? name,
    sources: definition.sources,
    queries: definition.queries ?? {},
    graph,
  }
}

/** A source with its own dedupe, which is named after it (design §4, Identity), unless others write its topic. */
function addSource(
  graph: Graph,
  name: string,
  { topic: topicName, contract, options }: Source<any>,
): Stream<unknown> {
  const { topic: fullName, encoding, dedupeHorizon } = options
  if (encoding !== undefined && fullName === undefined) {
    throw new TopologyError(
      'BAD_OPTION',
      `source '${name}': encoding says how others write a topic; name it with { topic }.`,
    )
  }
  const foreign = fullName === undefined ? null : { topic: fullName, encoding: encoding ?? 'registry' }
  const schema = contract.schema
  const owner = { name, version: 1 }
  let node: Node = graph.add({ kind: 'source', name, owner, topic: topicName, contract, foreign, schema })
  if (foreign !== null && dedupeHorizon === undefined) return new Stream(graph, node)
  const dedupe = {
    kind: 'dedupe',
    name: `${name}-dedupe`,
    owner,
    id: (value: any) => contract.idOf(value as Row),
    idColumns: contract.id,
    horizonMs: parseDurationMs(dedupeHorizon ?? '24h'),
    schema,
  } as const
  if (!contract.equalIdsImplyEqualKeys) {
    const keyed = graph.add({
      kind: 'selectKey',
      name: `${name}-id`,
      input: node,
      fn: dedupe.id,
      schema,
    })
    node = graph.add({ kind: 'repartition', name: `${name}-by-id`, owner, input: keyed, schema })
  }
  return new Stream(graph, graph.add({ ...dedupe, input: node }))
}

function checkRetired({ nodes, retired }: Graph): void {
  const alive = nodes.find(({ owner }) => owner !== undefined && retired.has(owner.name))
  if (alive === undefined) return
  throw new TopologyError(
    'BAD_OPTION',
    `'${alive.owner!.name}' is among the retired, and the pipeline still has it: take it out of one of the two.`,
  )
}

const LATE_COLUMNS = {
  window_start: 'Start of the window that the record came too late for',
  window_end: 'End of that window',
  watermark: 'How far its source had come before it',
  late_mark: 'watermark: its window had closed by time; end: by the end of a finite input',
}

/** Late records never vanish: a late stream that the pipeline leaves alone goes to a topic of its own. */
function routeLateStreams(graph: Graph): void {
  const late = graph.nodes.filter((node): node is LateNode => node.kind === 'late')
  for (const node of late) {
    if (graph.childrenOf(node).length > 0) continue
    new Stream<unknown>(graph, node).to(
      topic(node.name.replace(/-stream$/, ''), { descriptions: LATE_COLUMNS }),
    )
  }
}
