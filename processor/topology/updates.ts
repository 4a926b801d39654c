import type { TableDestination } from '../../schemas/destinations.ts'
import {
  inputsOf,
  TopologyError,
  type FinalWindowNode,
  type MapNode,
  type MergeNode,
  type FlatMapNode,
  type Node,
  type SelectKeyNode,
  type WindowNode,
} from './graph.ts'

interface UpdatesPath {
  readonly aggregate: WindowNode | FinalWindowNode
  /** What lies between the aggregate and the node, where it matters to whoever replaces rows. */
  readonly remapped: MapNode | FlatMapNode | MergeNode | null
  readonly rekeyed: SelectKeyNode | null
}

/** Each way by which a node gives updates of an aggregate; none: it gives no updates. */
function updatesInto(
  node: Node,
  behind: Pick<UpdatesPath, 'remapped' | 'rekeyed'> = { remapped: null, rekeyed: null },
): UpdatesPath[] {
  if (node.kind === 'window' || node.kind === 'window-final') {
    return node.emit === 'updates' ? [{ aggregate: node, ...behind }] : []
  }
  // Late records are what they were when they came.
  if (node.kind === 'late') return []
  let { remapped, rekeyed } = behind
  // The rows of two aggregates are told apart by no column of both.
  if (node.kind === 'map' || node.kind === 'flatMap' || node.kind === 'merge') remapped ??= node
  if (node.kind === 'selectKey') rekeyed ??= node
  return inputsOf(node).flatMap((input) => updatesInto(input, { remapped, rekeyed }))
}

/**
 * Refuses what takes every value for a fact of its own, where it would get updates.
 * @throws TopologyError NOT_ON_UPDATES
 */
export function refuseUpdates(node: Node, place: string, consequence: string): void {
  const [path] = updatesInto(node)
  if (path === undefined) return
  throw new TopologyError(
    'NOT_ON_UPDATES',
    `${place} stands behind the updates of '${path.aggregate.name}', and ${consequence}. ` +
      `Let '${path.aggregate.name}' emit when its windows close ({ emit: 'final' }), or give ${place} the ` +
      'records that the updates are made of.',
  )
}

/**
 * The columns by which rows replace each other in a table: as the table says, else, for updates, the group's
 * columns and the window's start. null: rows are appended.
 * @throws TopologyError NOT_ON_UPDATES where no column is known to identify a row
 */
export function upsertKey(node: Node, { name, options }: TableDestination<any>): readonly string[] | null {
  const key = options.key as readonly string[] | undefined
  const paths = updatesInto(node)
  const [path] = paths
  if (path === undefined) return key ?? null
  const { aggregate, remapped, rekeyed } = paths.find((other) => other.rekeyed !== null) ?? path
  if (rekeyed !== null) {
    throw new TopologyError(
      'NOT_ON_UPDATES',
      `table '${name}' gets updates of '${aggregate.name}' under other keys ('${rekeyed.name}'): they would ` +
        'come through several partitions and overtake each other. Send them to the table without selectKey.',
    )
  }
  if (key !== undefined) return key
  if (remapped !== null) {
    throw new TopologyError(
      'NOT_ON_UPDATES',
      `table '${name}' gets updates of '${aggregate.name}', changed by '${remapped.name}': say which columns ` +
        `tell a row from another, by table('${name}', { key: [...] }).`,
    )
  }
  return [...aggregate.keyColumns, 'window_start']
}
