import { parseDurationMs, type Duration } from '../../schemas/duration.ts'
import { schema, string, timestamp, type RowOf } from '../../schemas/schema.ts'
import { inputsOf, TopologyError, type AnySchema, type Node, type StallsNode } from './graph.ts'

export const stallSchema = schema('Stall', {
  source: string(),
  since: timestamp(),
  noticed_at: timestamp(),
})

/**
 * A source from which nothing has come for a while, neither records nor heartbeats: since when by the log's clock,
 * and when that was noticed, both epoch ms.
 */
export type Stall = RowOf<typeof stallSchema>

export interface StallsOptions {
  /** How long nothing has to come. */
  readonly after: Duration
}

/** @throws TopologyError BAD_OPTION for what is no source of ours */
export function stallsNode(name: string, node: Node, { after }: StallsOptions): StallsNode {
  let source = node
  // A source's stream begins behind its dedupe.
  while (source.kind !== 'source' && source.kind !== 'merge') source = inputsOf(source)[0]!
  if (source.kind === 'merge' || node.owner?.name !== source.owner?.name) {
    throw new TopologyError(
      'BAD_OPTION',
      `stalls '${name}': it is sources that stall. Call it on a stream as build(…) was given it.`,
    )
  }
  if (source.foreign !== null) {
    throw new TopologyError(
      'BAD_OPTION',
      `stalls '${name}': others write the topic '${source.foreign.topic}', which has no heartbeats: nobody can tell ` +
        'a quiet source from one that stalls.',
    )
  }
  const afterMs = parseDurationMs(after)
  if (afterMs <= 0)
    throw new TopologyError('BAD_OPTION', `stalls '${name}': after must be longer than nothing.`)
  return { kind: 'stalls', name, input: source, afterMs, schema: stallSchema as AnySchema }
}
