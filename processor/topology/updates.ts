import type { TableDestination } from '../../schemas/destinations.ts'
import {
  TopologyError,
  type FinalWindowNode,
  type MapNode,
  type FlatMapNode,
  type Node,
  type SelectKeyNode,
  type WindowNode,
} from './graph.ts'

interface UpdatesPath {
  readonly aggregate: WindowNode | FinalWindowNode
  /** What lies between the aggregate and the node, where it matters to whoever replaces rows. */
  readonly remapped: MapNode | FlatMapNode | null
  readonly rekeyed: SelectKeyNode | null
}

/** Where the values that a node gives are updates of an aggregate; null: they are not. */
function updatesInto(node: Node): UpdatesPath | null {
  let remapped: UpdatesPath['remapped'] = null
  let rekeyed: UpdatesPath['rekeyed'] = null
  for (let at = node; ; at = at.input) {
    if (at.kind === 'window' || at.kind === 'window-final') {
      return at.emit === 'updates' ? { aggregate: at, remapped, rekeyed } : null
    }
    // Late records are what they were when they came.
    if (!('input' in at) || at.kind === 'late') return null
    if (at.kind === 'map' || at.kind === 'flatMap') remapped ??= at
    if (at.kind === 'selectKey') rekeyed ??= at
  }
}

/**
 * Refuses what takes every value for a fact of its own, where it would get updates.
 * @throws TopologyError NOT_ON_UPDATES
 */
export function refuseUpdates(node: Node, place: string, consequence: string): void {
  const path = updatesInto(node)
  if (path === null) return
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
  const path = updatesInto(node)
  if (path === null) return key ?? null
  const { aggregate, remapped, rekeyed } = path
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
