import type { Notify, TableDestination, TopicDestination } from '../../schemas/destinations.ts'
import { checkNotify, checkTableColumns } from './columns.ts'
import { TopologyError, type Graph, type Node, type SinkNode } from './graph.ts'
import { requireSchema } from './grouping.ts'
import { differenceOf } from './merge.ts'
import { upsertKey } from './updates.ts'

/**
 * Where a stream ends. The first for a destination says what it is; others that are written for the same one go to
 * its topic.
 * @throws TopologyError as `Stream.to`
 */
export function addSink(
  graph: Graph,
  input: Node,
  destination: TableDestination<any> | TopicDestination,
): void {
  const schema = requireSchema(input, `${destination.kind} '${destination.name}'`)
  if (destination.kind === 'table') checkTableColumns(destination, schema)
  else checkNotify(destination, schema)
  const sameAs = graph.sinkOf(destination)
  const node: SinkNode = {
    kind: 'sink',
    name: sameAs === null ? destination.name : graph.autoName(`${destination.name} again`),
    input,
    sameAs,
    destination:
      destination.kind === 'table'
        ? {
            kind: 'table',
            name: destination.name,
            options: destination.options,
            key: upsertKey(input, destination),
          }
        : {
            kind: 'topic',
            name: destination.name,
            format: destination.format,
            topic: destination.topic ?? null,
            descriptions: destination.descriptions ?? {},
            notify: (destination.notify as Notify<any> | undefined) ?? null,
          },
    schema,
  }
  if (sameAs !== null) checkSame(graph, sameAs, node)
  graph.addSink(destination, node)
}

function checkSame(graph: Graph, first: SinkNode, node: SinkNode): void {
  const { input, destination } = node
  const place = `${destination.kind} '${destination.name}'`
  if (graph.childrenOf(input).some((child) => child.kind === 'sink' && (child.sameAs ?? child) === first)) {
    throw new TopologyError(
      'BAD_OPTION',
      `'${input.name}' goes to ${place} twice: each row would come twice.`,
    )
  }
  const difference = differenceOf(first.schema, node.schema)
  if (difference !== null) {
    throw new TopologyError(
      'BAD_OPTION',
      `'${input.name}' does not fit ${place}, to which '${first.input.name}' goes: ${difference}. ` +
        'Give both the same fields, in the same order, by .map(…, { as: schema(…) }).',
    )
  }
  if (keyOf(first) === null && keyOf(node) === null) return
  throw new TopologyError(
    'BAD_OPTION',
    `${place}: its rows replace each other, and those of '${first.input.name}' and '${input.name}' come in no order. ` +
      'Make one stream of the two by merge.',
  )
}

function keyOf({ destination }: SinkNode): readonly string[] | null {
  return destination.kind === 'table' ? destination.key : null
}
