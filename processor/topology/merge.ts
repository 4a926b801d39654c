import type { FieldDefinition } from '../../schemas/schema.ts'
import { rootOf, TopologyError, type AnySchema, type MergeNode, type Node } from './graph.ts'
import { requireSchema } from './grouping.ts'

/**
 * The node that joins streams into one. Those of one task meet where they are; those of several tasks go through a
 * topic of the merge's name, since a task reads one partition of one topic.
 * @throws TopologyError BAD_OPTION for streams that are one, of another pipeline, or of another schema;
 *   SCHEMA_MISSING where they meet in a topic
 */
export function mergeNode(name: string, inputs: readonly Node[], known: ReadonlySet<Node>): MergeNode {
  const foreign = inputs.find((input) => !known.has(input))
  if (foreign !== undefined) {
    throw new TopologyError('BAD_OPTION', `merge '${name}': '${foreign.name}' is of another pipeline.`)
  }
  const twice = inputs.find((input, i) => inputs.indexOf(input) !== i)
  if (twice !== undefined) {
    throw new TopologyError(
      'BAD_OPTION',
      `merge '${name}' has the stream '${twice.name}' twice: each of its records would come twice. Name it once.`,
    )
  }
  const meetsInTopic = new Set(inputs.map(rootOf)).size > 1
  if (meetsInTopic) for (const input of inputs) requireSchema(input, `merge '${name}'`)
  const [first, ...others] = inputs
  for (const other of others) {
    if (first!.schema === null || other.schema === null) continue
    const difference = differenceOf(first!.schema, other.schema)
    if (difference === null) continue
    throw new TopologyError(
      'BAD_OPTION',
      `merge '${name}': '${other.name}' (${other.schema.name}) does not fit '${first!.name}' ` +
        `(${first!.schema.name}): ${difference}. Give both the same fields, in the same order, ` +
        'by .map(…, { as: schema(…) }) in front of the merge.',
    )
  }
  return {
    kind: 'merge',
    name,
    owner: { name, version: 1 },
    inputs,
    meetsInTopic,
    schema: inputs.every(({ schema }) => schema !== null) ? first!.schema : null,
  }
}

/** Names of schemas may differ: their records are the same bytes. null: nothing else does. */
export function differenceOf(first: AnySchema, other: AnySchema): string | null {
  for (const field of other.fields) {
    const same = first.fields.find(({ name }) => name === field.name)
    if (same === undefined) return `its field '${field.name}' (${wordsOf(field)}) is missing in the other`
    if (wordsOf(same) !== wordsOf(field)) {
      return `'${field.name}' is ${wordsOf(field)}, and in the other ${wordsOf(same)}`
    }
  }
  const missing = first.fields.find(({ name }) => !other.fields.some((field) => field.name === name))
  if (missing !== undefined) return `it has no field '${missing.name}' (${wordsOf(missing)})`
  const isOrdered = first.fields.every(({ name }, i) => other.fields[i]!.name === name)
  return isOrdered ? null : 'its fields are in another order'
}

function wordsOf({ kind, optional }: FieldDefinition): string {
  return optional ? `optional ${kind}` : kind
}
