import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { planPipeline } from '../../processor/topology/plan.ts'
import { requiredTopics } from '../provision/required-topics.ts'
import { REGISTRY_TOPIC } from '../registry-store.ts'
import type { NeededTopic } from './kafka.ts'

/** Every topic that a pipeline's roles use together, those that others write among them. */
export function neededTopics(pipeline: Pipeline, hasRegistry: boolean): NeededTopic[] {
  // Names do not depend on how many partitions or copies there are.
  const plan = planPipeline(pipeline, { partitions: 1 })
  const required = requiredTopics(plan, {
    replicationFactor: 1,
    registryTopic: hasRegistry ? null : REGISTRY_TOPIC,
  })
  const own: NeededTopic[] = required.map(({ name, deletes }) => ({
    name,
    operations: ['read', 'write', 'describe', ...(deletes ? (['delete'] as const) : [])],
  }))
  const foreign = plan.subTopologies
    .map(({ inputTopic }) => inputTopic)
    .filter((name) => !own.some((topic) => topic.name === name))
  return [...own, ...foreign.map((name): NeededTopic => ({ name, operations: ['read', 'describe'] }))]
}
