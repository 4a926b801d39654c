import { createHash } from 'node:crypto'
import { partitionsOf } from '../../log/partitions.ts'
import type { TopicConfig, TopicPartition } from '../../log/port.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import type { TableDefinition } from '../../schemas/destinations.ts'
import type { Schema } from '../../schemas/schema.ts'
import {
  inputsOf,
  isRoot,
  rootOf,
  TopologyError,
  type AnySchema,
  type DedupeNode,
  type FinalWindowNode,
  type MergeNode,
  type Node,
  type PartialWindowNode,
  type RepartitionNode,
  type RootNode,
  type SinkNode,
  type SourceNode,
  type WindowNode,
} from './graph.ts'
import { originId } from './origin.ts'
import type { Pipeline } from './pipeline.ts'

export type StatefulNode = DedupeNode | WindowNode | PartialWindowNode | FinalWindowNode

/** Where a sub-topology keeps state: time segments in its `-windows` changelog. */
export interface StoreDefinition {
  /** Stands for the store in changelog and state keys: 16 bits of its name's hash. */
  readonly id: number
  readonly name: string
  readonly node: StatefulNode
  /** Width of a time segment; wide enough that at most 64 are open. */
  readonly segmentMs: number
}

/** What lies between two repartitions. With one partition number it makes a task, `<name>_<partition>`. */
export interface SubTopology {
  readonly name: string
  readonly root: RootNode
  readonly nodes: readonly Node[]
  readonly inputTopic: string
  readonly partitions: number
  /** Those whose tasks write its input, and whose watermarks it waits for; none where the input is a source. */
  readonly upstreams: readonly SubTopology[]
  readonly stores: readonly StoreDefinition[]
  readonly changelogTopic: string
  readonly windowsTopic: string
}

export interface TopicSpec extends TopicConfig {
  readonly name: string
}

/** An output that a table can be filled from. Topics of JSON are none. */
export interface SinkSpec {
  readonly node: SinkNode
  readonly topic: string
  readonly table: TableDefinition
}

/** A pipeline bound to an application name and a number of partitions: all that the runtime needs to know. */
export interface Plan {
  readonly application: string
  readonly pipeline: Pipeline
  readonly partitions: number
  readonly subTopologies: readonly SubTopology[]
  readonly topics: readonly TopicSpec[]
  readonly sinks: readonly SinkSpec[]
  readonly deadLetterTopic: string
  /** Subject → schema of every topic that others may read. */
  readonly subjects: readonly { readonly subject: string; readonly schema: AnySchema }[]
  topicOf(node: TopicNode): string
}

/** A node whose values come from a topic or go into one. */
export type TopicNode = SourceNode | SinkNode | RepartitionNode | MergeNode | PartialWindowNode

const FOREVER = -1

/** Where is kept what people have been told. */
export function noticesTopic(application: string): string {
  return `${application}.notices`
}
const MOST_OPEN_SEGMENTS = 64

export interface PlanOptions {
  /** Of each topic that is the application's own. */
  readonly partitions: number
  /** Default: the pipeline's name. */
  readonly application?: string
  /**
   * How many partitions the topics with names of their own have, where they are there ({@link namedTopics}).
   * Default: as the application's.
   */
  readonly named?: ReadonlyMap<string, number>
}

/** The topics that a pipeline calls by their full names: others may have made them. */
export function namedTopics({ graph }: Pipeline): string[] {
  const names = graph.nodes.flatMap((node) =>
    node.kind === 'source'
      ? [node.foreign?.topic]
      : node.kind === 'sink' && node.destination.kind === 'topic'
        ? [node.destination.topic]
        : [],
  )
  return [...new Set(names.filter((name) => typeof name === 'string'))]
}

/** @throws TopologyError DUPLICATE_NAME when two stores or topics cannot be told apart, BAD_OPTION for a topic's name */
export function planPipeline(pipeline: Pipeline, options: PlanOptions): Plan {
  const application = options.application ?? pipeline.name
  const { partitions, named } = options
  const nodes = pipeline.graph.nodes
  const topicOf = (node: TopicNode): string => {
    if (node.kind === 'source') return node.foreign?.topic ?? `${application}.${node.topic}`
    if (node.kind === 'sink') {
      const { destination } = node
      const own = `${application}.${destination.name}`
      return destination.kind === 'table' ? own : (destination.topic ?? own)
    }
    // A keyless aggregate's partials go to what they become.
    return `${application}.${node.name.replace(/-partial$/, '')}-repartition`
  }
  const subTopologies: SubTopology[] = []
  for (const root of nodes.filter(isRoot)) {
    const members = nodes.filter((node) => rootOf(node) === root)
    const upstreamRoots = inputsOf(root).map(rootOf)
    const inputTopic = topicOf(root.kind === 'window-final' ? root.input : root)
    subTopologies.push({
      name: root.name,
      root,
      nodes: members,
      inputTopic,
      // A keyless aggregate is one key, hence one partition.
      partitions: root.kind === 'window-final' ? 1 : (named?.get(inputTopic) ?? partitions),
      upstreams: subTopologies.filter((candidate) => upstreamRoots.includes(candidate.root)),
      stores: storesOf(members, disorderOf(nodes)),
      changelogTopic: `${application}.${root.name}-changelog`,
      windowsTopic: `${application}.${root.name}-windows`,
    })
  }
  const sinkNodes = pipeline.graph.sinks
  const sinks = sinkNodes
    .filter(({ destination }) => destination.kind === 'table' || destination.format === 'avro')
    .map((node) => sinkSpec(node, topicOf(node), pipeline))
  const outputs = sinkNodes.map(topicOf)
  const deadLetterTopic = `${application}.dead-letters`
  const topics = topicsOf(subTopologies, outputs, deadLetterTopic, options)
  if (sinkNodes.some(({ destination }) => destination.kind === 'topic' && destination.notify !== null)) {
    topics.push({ name: noticesTopic(application), partitions: 1, cleanup: 'compact', retentionMs: FOREVER })
  }
  checkNames(subTopologies, topics)
  checkOrigins(nodes)
  return {
    application,
    pipeline,
    partitions,
    subTopologies,
    sinks,
    deadLetterTopic,
    topics,
    subjects: [
      ...nodes
        .filter((node) => node.kind === 'source')
        .filter(({ foreign }) => foreign?.encoding !== 'bare')
        .map((node) => ({
          subject: `${topicOf(node)}-value`,
          schema: node.foreign === null ? (node.contract.sourceSchema as AnySchema) : node.schema!,
        })),
      ...sinks.map(({ topic, node }) => ({ subject: `${topic}-value`, schema: node.schema })),
      { subject: `${deadLetterTopic}-value`, schema: deadLetterSchema as AnySchema },
    ],
    topicOf,
  }
}

function disorderOf(nodes: readonly Node[]): number {
  return Math.max(0, ...nodes.map((node) => (node.kind === 'source' ? node.contract.disorderMs : 0)))
}

function storesOf(nodes: readonly Node[], disorderMs: number): StoreDefinition[] {
  const stores: StoreDefinition[] = []
  for (const node of nodes) {
    if (node.kind === 'dedupe') {
      if (node.horizonMs <= 0) {
        throw new TopologyError(
          'BAD_OPTION',
          `dedupe '${node.name}': its horizon must be longer than nothing.`,
        )
      }
      stores.push({ id: storeId(node.name), name: node.name, node, segmentMs: Math.ceil(node.horizonMs / 4) })
    } else if (node.kind === 'window' || node.kind === 'window-partial' || node.kind === 'window-final') {
      const { sizeMs, graceMs } = node.windows
      const openWindows = (sizeMs + graceMs + disorderMs) / sizeMs
      const segmentMs = sizeMs * Math.max(1, Math.ceil(openWindows / (MOST_OPEN_SEGMENTS / 2)))
      stores.push({ id: storeId(node.name), name: node.name, node, segmentMs })
    }
  }
  for (const [index, store] of stores.entries()) {
    const other = stores.findIndex((candidate) => candidate.id === store.id)
    if (other !== index) {
      throw new TopologyError(
        'DUPLICATE_NAME',
        `The stores '${stores[other]!.name}' and '${store.name}' hash to the same id: rename one of them.`,
      )
    }
  }
  return stores
}

function storeId(name: string): number {
  return createHash('sha256').update(name).digest().readUInt16BE(0)
}

function sinkSpec(node: SinkNode, topic: string, pipeline: Pipeline): SinkSpec {
  const { destination, schema } = node
  if (destination.kind === 'topic') {
    // Embedded, a topic is a table of the pipeline's dataset (design §4).
    const name = `${pipeline.dataset}.${destination.name.replaceAll('-', '_')}`
    return {
      node,
      topic,
      table: { name, schema: schema as Schema, clusterBy: [], descriptions: destination.descriptions },
    }
  }
  const { partitionBy, clusterBy, descriptions, description } = destination.options
  return {
    node,
    topic,
    table: {
      name: destination.name,
      schema: schema as Schema,
      clusterBy: clusterBy ?? [],
      descriptions: (descriptions ?? {}) as Record<string, string>,
      ...(destination.key === null ? {} : { key: destination.key }),
      ...(partitionBy === undefined ? {} : { partitionBy }),
      ...(description === undefined ? {} : { description }),
    },
  }
}

function topicsOf(
  subTopologies: readonly SubTopology[],
  outputs: readonly string[],
  deadLetterTopic: string,
  { partitions, named }: PlanOptions,
): TopicSpec[] {
  const topics: TopicSpec[] = []
  for (const sub of subTopologies) {
    // What others write is theirs to make.
    if (sub.root.kind !== 'source' || sub.root.foreign === null) {
      topics.push({
        name: sub.inputTopic,
        partitions: sub.partitions,
        cleanup: 'delete',
        retentionMs: FOREVER,
      })
    }
    topics.push({
      name: sub.changelogTopic,
      partitions: sub.partitions,
      cleanup: 'compact',
      retentionMs: FOREVER,
    })
    topics.push({
      name: sub.windowsTopic,
      partitions: sub.partitions,
      cleanup: 'compact,delete',
      retentionMs: FOREVER,
    })
  }
  for (const name of outputs) {
    topics.push({ name, partitions: named?.get(name) ?? partitions, cleanup: 'delete', retentionMs: FOREVER })
  }
  topics.push({ name: deadLetterTopic, partitions, cleanup: 'delete', retentionMs: FOREVER })
  return topics
}

/** What a log takes as a topic's name. */
const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/

function checkNames(subTopologies: readonly SubTopology[], topics: readonly TopicSpec[]): void {
  const foreign = subTopologies.filter(({ root }) => root.kind === 'source' && root.foreign !== null)
  const names = [...foreign.map(({ inputTopic }) => inputTopic), ...topics.map(({ name }) => name)]
  for (const [i, name] of names.entries()) {
    if (!TOPIC_NAME.test(name)) {
      throw new TopologyError(
        'BAD_OPTION',
        `'${name}' cannot name a topic: use up to 249 letters, digits, '.', '_' and '-'.`,
      )
    }
    if (names.indexOf(name) === i) continue
    throw new TopologyError(
      'DUPLICATE_NAME',
      `The pipeline has topic '${name}' twice, as two of its sources and outputs: give one of them another name.`,
    )
  }
}

/** What orders records of one event time has to tell their origins apart. */
function checkOrigins(nodes: readonly Node[]): void {
  const names = new Map<number, string>()
  for (const { kind, name } of nodes) {
    if (kind !== 'source' && kind !== 'window' && kind !== 'window-final' && kind !== 'stalls') continue
    const other = names.get(originId(name))
    if (other !== undefined) {
      throw new TopologyError('DUPLICATE_NAME', `'${other}' and '${name}' hash to the same id: rename one.`)
    }
    names.set(originId(name), name)
  }
}

/** Every partition that tasks read, repartition topics included. */
export function inputPartitions({ subTopologies }: Plan): TopicPartition[] {
  return subTopologies.flatMap(({ inputTopic, partitions }) => partitionsOf(inputTopic, partitions))
}

/** `<sub-topology>_<partition>`, as in Kafka Streams. */
export function taskId(sub: SubTopology, partition: number): string {
  return `${sub.name}_${partition}`
}
