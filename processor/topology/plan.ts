import { createHash } from 'node:crypto'
import type { TopicConfig, TopicPartition } from '../../log/port.ts'
import { deadLetterSchema } from '../../schemas/dead-letter.ts'
import type { TableDefinition } from '../../schemas/destinations.ts'
import type { Schema } from '../../schemas/schema.ts'
import {
  TopologyError,
  type AnySchema,
  type DedupeNode,
  type FinalWindowNode,
  type Node,
  type PartialWindowNode,
  type RepartitionNode,
  type SinkNode,
  type SourceNode,
  type WindowNode,
} from './graph.ts'
import type { Pipeline } from './pipeline.ts'

export type StatefulNode = DedupeNode | WindowNode | PartialWindowNode | FinalWindowNode
export type RootNode = SourceNode | RepartitionNode | FinalWindowNode

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
  /** The tasks whose watermarks its input waits for; null where the input is a source. */
  readonly upstream: SubTopology | null
  readonly stores: readonly StoreDefinition[]
  readonly changelogTopic: string
  readonly windowsTopic: string
}

export interface TopicSpec extends TopicConfig {
  readonly name: string
}

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
  topicOf(node: SourceNode | SinkNode | RepartitionNode | PartialWindowNode): string
}

const FOREVER = -1
const MOST_OPEN_SEGMENTS = 64

/** @throws TopologyError when two stores cannot be told apart */
export function planPipeline(
  pipeline: Pipeline,
  options: { partitions: number; application?: string },
): Plan {
  const application = options.application ?? pipeline.name
  const { partitions } = options
  const nodes = pipeline.graph.nodes
  const topicOf = (node: SourceNode | SinkNode | RepartitionNode | PartialWindowNode): string => {
    if (node.kind === 'source') return `${application}.${node.topic}`
    if (node.kind === 'sink') return `${application}.${node.destination.name}`
    // A keyless aggregate's partials go to what they become.
    return `${application}.${node.name.replace(/-partial$/, '')}-repartition`
  }
  const subTopologies: SubTopology[] = []
  const rootOf = new Map<Node, RootNode>()
  for (const node of nodes) {
    rootOf.set(node, isRoot(node) ? node : rootOf.get(node.input)!)
  }
  for (const root of nodes.filter(isRoot)) {
    const members = nodes.filter((node) => rootOf.get(node) === root)
    const upstreamRoot = root.kind === 'source' ? null : rootOf.get(root.input)!
    subTopologies.push({
      name: root.name,
      root,
      nodes: members,
      inputTopic: topicOf(root.kind === 'window-final' ? root.input : root),
      // A keyless aggregate is one key, hence one partition.
      partitions: root.kind === 'window-final' ? 1 : partitions,
      upstream: subTopologies.find((candidate) => candidate.root === upstreamRoot) ?? null,
      stores: storesOf(members, disorderOf(nodes)),
      changelogTopic: `${application}.${root.name}-changelog`,
      windowsTopic: `${application}.${root.name}-windows`,
    })
  }
  const sinks = nodes
    .filter((node) => node.kind === 'sink')
    .map((node) => sinkSpec(node, topicOf(node), pipeline))
  const deadLetterTopic = `${application}.dead-letters`
  return {
    application,
    pipeline,
    partitions,
    subTopologies,
    sinks,
    deadLetterTopic,
    topics: topicsOf(subTopologies, sinks, deadLetterTopic, partitions),
    subjects: [
      ...nodes
        .filter((node) => node.kind === 'source')
        .map((node) => ({
          subject: `${topicOf(node)}-value`,
          schema: node.contract.sourceSchema as AnySchema,
        })),
      ...sinks.map(({ topic, node }) => ({ subject: `${topic}-value`, schema: node.schema })),
      { subject: `${deadLetterTopic}-value`, schema: deadLetterSchema as AnySchema },
    ],
    topicOf,
  }
}

function isRoot(node: Node): node is RootNode {
  return node.kind === 'source' || node.kind === 'repartition' || node.kind === 'window-final'
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
      ...(partitionBy === undefined ? {} : { partitionBy }),
      ...(description === undefined ? {} : { description }),
    },
  }
}

function topicsOf(
  subTopologies: readonly SubTopology[],
  sinks: readonly SinkSpec[],
  deadLetterTopic: string,
  partitions: number,
): TopicSpec[] {
  const topics: TopicSpec[] = []
  for (const sub of subTopologies) {
    topics.push({ name: sub.inputTopic, partitions: sub.partitions, cleanup: 'delete', retentionMs: FOREVER })
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
  for (const { topic } of sinks)
    topics.push({ name: topic, partitions, cleanup: 'delete', retentionMs: FOREVER })
  topics.push({ name: deadLetterTopic, partitions, cleanup: 'delete', retentionMs: FOREVER })
  return topics
}

/** Every partition that tasks read, repartition topics included. */
export function inputPartitions({ subTopologies }: Plan): TopicPartition[] {
  return subTopologies.flatMap(({ inputTopic: topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
  )
}

/** `<sub-topology>_<partition>`, as in Kafka Streams. */
export function taskId(sub: SubTopology, partition: number): string {
  return `${sub.name}_${partition}`
}
