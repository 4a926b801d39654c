import { createHash } from 'node:crypto'
import type { Node } from './graph.ts'
import type { Plan } from './plan.ts'

/** What of a topology state depends on: functions cannot be compared. */
export interface TopologyDescription {
  readonly application: string
  readonly partitions: number
  /** Sources and stateful nodes, by name: every option in words. */
  readonly nodes: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Tables and topics: no state depends on them. */
  readonly outputs: readonly string[]
  /** Versions of what there was once: something that it kept may still be around. */
  readonly retired: Readonly<Record<string, number>>
}

export function describeTopology(plan: Plan): TopologyDescription {
  const nodes: Record<string, Record<string, string>> = {}
  for (const node of plan.pipeline.graph.nodes) {
    const options = optionsOf(node, plan)
    if (options === null || node.owner === undefined) continue
    const { name: owner, version } = node.owner
    nodes[node.name] = {
      kind: node.kind,
      owner,
      version: String(version),
      ...options,
      'sub-topology': subOf(plan, node),
    }
  }
  const { application, partitions, pipeline } = plan
  const outputs = pipeline.graph.sinks.map(({ name }) => name)
  return { application, partitions, nodes, outputs, retired: {} }
}

/** Equal for topologies that may share state. */
export function topologyHash(plan: Plan): string {
  const { application, partitions, nodes } = describeTopology(plan)
  return createHash('sha256')
    .update(JSON.stringify({ application, partitions, nodes }))
    .digest('hex')
    .slice(0, 16)
}

function optionsOf(node: Node, plan: Plan): Record<string, string> | null {
  switch (node.kind) {
    case 'source':
      if (node.foreign === null) return { topic: node.topic, schema: node.contract.sourceSchema.avroText }
      return {
        ...node.foreign,
        schema: node.contract.schema.avroText,
        disorder: `${node.contract.disorderMs} ms`,
        // Another number puts keys into other partitions than their state is in.
        partitions: String(plan.subTopologies.find(({ root }) => root === node)!.partitions),
      }
    case 'dedupe':
      return { id: node.idColumns.join(', '), horizon: `${node.horizonMs} ms` }
    case 'repartition':
      return { schema: node.schema.avroText }
    case 'merge':
      return node.meetsInTopic ? { schema: node.schema!.avroText } : null
    case 'window':
    case 'window-partial':
    case 'window-final':
      return {
        windows: `tumbling ${node.windows.sizeMs} ms`,
        grace: `${node.windows.graceMs} ms`,
        // With the same state, but not the same outputs: a window that was touched before the change would
        // never be emitted after it.
        emit: node.emit,
        emptyWindows: String(node.windows.emptyWindows),
        key: node.keyColumns.join(', '),
        aggregates: Object.entries(node.aggregates)
          .map(([column, { kind }]) => `${column} = ${kind}`)
          .join(', '),
      }
    case 'map':
    case 'flatMap':
    case 'filter':
    case 'selectKey':
    case 'peek':
    case 'branch':
    case 'case':
    case 'stamp':
    case 'late':
    case 'stalls':
    case 'sink':
      return null
  }
}

function subOf(plan: Plan, node: Node): string {
  return plan.subTopologies.find(({ nodes }) => nodes.includes(node))!.name
}
