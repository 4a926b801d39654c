import { inputsOf, type CaseNode, type Node } from './graph.ts'
import type { Plan, SubTopology } from './plan.ts'

/** The topology as text: sub-topologies with their nodes, topics and stores. */
export function describeText(plan: Plan): string {
  const lines = [`Topology of ${plan.application}, ${plan.partitions} partitions`]
  for (const sub of plan.subTopologies) {
    lines.push('', `Sub-topology ${sub.name} (${sub.partitions} task${sub.partitions === 1 ? '' : 's'})`)
    lines.push(`  reads      ${sub.inputTopic}`)
    for (const store of sub.stores) lines.push(`  keeps      ${store.name}, in ${sub.windowsTopic}`)
    for (const node of sub.nodes) lines.push(`  ${label(node, plan).padEnd(40)} <- ${inputNames(node)}`)
  }
  lines.push('', `Dead letters  ${plan.deadLetterTopic}`, '')
  return lines.join('\n')
}

/** The same as a Mermaid flowchart. */
export function describeMermaid(plan: Plan): string {
  const ids = new Map(plan.pipeline.graph.nodes.map((node, i) => [node, `n${i}`]))
  const lines = ['flowchart TD']
  for (const sub of plan.subTopologies) {
    lines.push(`  subgraph ${quoted(`sub-topology ${sub.name}`)}`)
    for (const node of sub.nodes) lines.push(`    ${ids.get(node)}[${quoted(label(node, plan))}]`)
    lines.push('  end')
  }
  for (const sub of plan.subTopologies) {
    for (const node of sub.nodes) {
      for (const input of inputsOf(node)) {
        lines.push(`  ${ids.get(input)} ${arrow(node, input, sub)} ${ids.get(node)}`)
      }
      if (node.kind === 'source')
        lines.push(`  t${ids.get(node)}([${quoted(sub.inputTopic)}]) --> ${ids.get(node)}`)
      if (node.kind === 'sink') {
        const topic = `t${ids.get(node.sameAs ?? node)}`
        const shape = node.sameAs === null ? `([${quoted(plan.topicOf(node))}])` : ''
        lines.push(`  ${ids.get(node)} --> ${topic}${shape}`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}

function arrow(node: Node, input: Node, sub: SubTopology): string {
  if (input.kind === 'branch' && node.kind === 'case') return `-- ${quoted(caseOf(node))} -->`
  return node === sub.root ? `-- ${quoted(sub.inputTopic)} -->` : '-->'
}

function caseOf({ input, index }: CaseNode): string {
  return input.cases[index]!.name
}

function label(node: Node, plan: Plan): string {
  switch (node.kind) {
    case 'source':
      return `source ${node.topic}`
    case 'dedupe':
      return `dedupe by ${node.idColumns.join(', ')}`
    case 'window':
    case 'window-partial':
    case 'window-final':
      return `${node.kind} ${node.name}${node.emit === 'updates' ? ' (updates)' : ''}`
    case 'sink':
      return `${node.destination.kind} ${node.destination.name}`
    case 'stamp':
      return `stamp ${node.column}`
    case 'repartition':
      return `repartition ${plan.topicOf(node)}`
    case 'merge':
      return node.meetsInTopic ? `merge ${plan.topicOf(node)}` : `merge ${node.name}`
    case 'branch':
      return `${node.name}: ${node.cases.map(({ name }) => name).join(', ')}`
    case 'map':
    case 'flatMap':
    case 'filter':
    case 'selectKey':
    case 'peek':
    case 'case':
    case 'late':
    case 'stalls':
      return node.name
  }
}

function inputNames(node: Node): string {
  return node.kind === 'source'
    ? 'input'
    : inputsOf(node)
        .map(({ name }) => name)
        .join(', ')
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '#quot;')}"`
}
