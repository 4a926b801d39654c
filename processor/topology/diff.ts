import { createHash } from 'node:crypto'
import { TopologyError, type Node } from './graph.ts'
import type { Plan } from './plan.ts'

/** What of a topology state depends on: functions cannot be compared. */
export interface TopologyDescription {
  readonly application: string
  readonly partitions: number
  /** Sources and stateful nodes, by name: every option in words. */
  readonly nodes: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export function describeTopology(plan: Plan): TopologyDescription {
  const nodes: Record<string, Record<string, string>> = {}
  for (const node of plan.pipeline.graph.nodes) {
    const options = optionsOf(node, plan)
    if (options !== null)
      nodes[node.name] = { kind: node.kind, ...options, 'sub-topology': subOf(plan, node) }
  }
  return { application: plan.application, partitions: plan.partitions, nodes }
}

/** Equal for topologies that may share state. */
export function topologyHash(plan: Plan): string {
  return createHash('sha256')
    .update(JSON.stringify(describeTopology(plan)))
    .digest('hex')
    .slice(0, 16)
}

/**
 * Refuses an edit that the state does not fit. New nodes are fine: they start empty.
 * @throws TopologyError INCOMPATIBLE_TOPOLOGY with the difference and the way out
 */
export function checkCompatible(written: TopologyDescription, current: TopologyDescription): void {
  const differences: string[] = []
  if (written.partitions !== current.partitions) {
    differences.push(`partitions: ${written.partitions} when it was written, ${current.partitions} now`)
  }
  for (const [name, before] of Object.entries(written.nodes)) {
    const after = current.nodes[name]
    if (after === undefined) {
      differences.push(`${before['kind']} '${name}' is gone`)
      continue
    }
    for (const option of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (before[option] === after[option]) continue
      differences.push(
        `'${name}' ${option}: ${before[option] ?? 'none'} when it was written, ${after[option] ?? 'none'} now`,
      )
    }
  }
  if (differences.length === 0) return
  throw new TopologyError(
    'INCOMPATIBLE_TOPOLOGY',
    `The state of '${current.application}' was written by another topology:\n` +
      differences.map((difference) => `  - ${difference}`).join('\n') +
      '\nUndo the change, or start in another directory (--data-dir; on Kafka under another name), where the input ' +
      'is processed anew.',
  )
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
    case 'stamp':
    case 'late':
    case 'sink':
      return null
  }
}

function subOf(plan: Plan, node: Node): string {
  return plan.subTopologies.find(({ nodes }) => nodes.includes(node))!.name
}
