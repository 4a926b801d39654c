import type { Field } from '../../schemas/schema.ts'
import { checkColumns } from './columns.ts'
import {
  inputsOf,
  TopologyError,
  type AnySchema,
  type Node,
  type Owner,
  type RepartitionNode,
} from './graph.ts'

export type ColumnOf<T> = Extract<keyof T, string>

/** @throws TopologyError SCHEMA_MISSING, with where it can be named */
export function requireSchema(node: Node, place: string): AnySchema {
  if (node.schema !== null) return node.schema
  let at = node
  while (at.kind !== 'map' && at.kind !== 'flatMap') at = inputsOf(at).find(({ schema }) => schema === null)!
  throw new TopologyError(
    'SCHEMA_MISSING',
    `The stream into ${place} has no schema, since types are erased at run time. ` +
      `Name one at '${at.name}' by { as: schema(...) }.`,
  )
}

/** @throws TopologyError SCHEMA_MISSING */
export function repartitionNode(input: Node, name: string, owner: Owner): RepartitionNode {
  return { kind: 'repartition', name, owner, input, schema: requireSchema(input, `repartition '${name}'`) }
}

/** Whether equal groups are in one task as they come: the records still lie where their source's key put them. */
export function isKeyedBy(node: Node, columns: readonly string[]): boolean {
  switch (node.kind) {
    case 'source':
      return columns.length === 1 && columns[0] === node.contract.key
    case 'dedupe':
    case 'filter':
    case 'stamp':
    case 'peek':
    case 'branch':
    case 'case':
    case 'merge':
      return inputsOf(node).every((input) => isKeyedBy(input, columns))
    default:
      return false
  }
}

export function fieldOf(schema: AnySchema, column: string, place: string): Field<any> {
  checkColumns(`'${place}' groups by`, [column], schema)
  return schema.fields.find((field) => field.name === column) as unknown as Field<any>
}

/** Text of some columns that no two different groups share: each part is preceded by its length. */
export function keyText<T>(columns: readonly ColumnOf<T>[]): (value: T) => string {
  if (columns.length === 1) {
    const column = columns[0]!
    return (value) => textOf(value[column])
  }
  return (value) => {
    let text = ''
    for (const column of columns) {
      const part = textOf(value[column])
      text += `${part.length}:${part}`
    }
    return text
  }
}

/** null is told apart from every text by a leading NUL. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return '\0'
  const text = String(value as string | number | boolean)
  return text.startsWith('\0') ? `\0${text}` : text
}

export function pascalCase(name: string): string {
  return name.replace(/(^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, __, letter: string) => letter.toUpperCase())
}
