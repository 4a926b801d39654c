import type { DedupeNode, Node, WindowNode } from '../topology/graph.ts'
import { keyBytesOf, type KeyBytes, type ViewFields } from './operators/key-bytes.ts'
import type { Backing } from './operators/stateless.ts'

/** What a node's values are made of, so that their bytes can be copied on (see writeValue). */
export function backingOf(node: Node): Backing {
  const view = viewFieldsOf(node)
  if (view === null) return 'object'
  return view.isExtended ? 'extended-view' : 'view'
}

/** The bytes of some columns of a node's input, which has them. */
export function keyOf({ input }: DedupeNode | WindowNode, columns: readonly string[]): KeyBytes {
  const fields = columns.map((column) => input.schema!.fields.find(({ name }) => name === column)!)
  return keyBytesOf(fields, viewFieldsOf(input))
}

/** What a node's values lie over. */
function viewFieldsOf(node: Node): ViewFields | null {
  switch (node.kind) {
    case 'source': {
      const { schema, sourceSchema } = node.contract
      return { fields: (node.foreign === null ? sourceSchema : schema).fields, isExtended: false }
    }
    case 'repartition':
      return { fields: node.schema.fields, isExtended: false }
    case 'dedupe':
    case 'filter':
    case 'selectKey':
    case 'peek':
    case 'branch':
    case 'case':
      return viewFieldsOf(node.input)
    case 'merge': {
      if (node.meetsInTopic) return { fields: node.schema!.fields, isExtended: false }
      const [first, ...others] = node.inputs.map(viewFieldsOf)
      return others.every((other) => sameView(first!, other)) ? first! : null
    }
    case 'stamp': {
      const base = viewFieldsOf(node.input)
      return base === null || base.isExtended ? null : { ...base, isExtended: true }
    }
    default:
      return null
  }
}

function sameView(one: ViewFields | null, other: ViewFields | null): boolean {
  return one?.fields === other?.fields && one?.isExtended === other?.isExtended
}
