import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { namedTopics, planPipeline, type Plan } from '../../processor/topology/plan.ts'
import { DEFAULT_PARTITIONS } from '../settings/settings.ts'

/**
 * A pipeline's plan, with as many partitions as are asked for, else as its first source has, else the default.
 * Topics with names of their own have what they have.
 * @param asked null: nobody did
 * @param partitionsOf in the order asked; null where there is no such topic
 */
export async function planFor(
  pipeline: Pipeline,
  asked: number | null,
  partitionsOf: (topics: readonly string[]) => Promise<(number | null)[]>,
): Promise<Plan> {
  const names = namedTopics(pipeline)
  const counts = names.length === 0 ? [] : await partitionsOf(names)
  const named = new Map<string, number>()
  for (const [i, name] of names.entries()) {
    const count = counts[i] ?? null
    if (count !== null) named.set(name, count)
  }
  const plan = planPipeline(pipeline, { partitions: asked ?? DEFAULT_PARTITIONS, named })
  if (asked !== null) return plan
  const own = pipeline.graph.nodes.find((node) => node.kind === 'source' && node.foreign === null)
  if (own?.kind !== 'source') return plan
  const [existing = null] = await partitionsOf([plan.topicOf(own)])
  return existing === null || existing === plan.partitions
    ? plan
    : planPipeline(pipeline, { partitions: existing, named })
}
