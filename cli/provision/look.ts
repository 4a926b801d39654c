import type { Pipeline } from '../../processor/topology/pipeline.ts'
import type { Plan } from '../../processor/topology/plan.ts'
import { planFor } from '../pipelines/plan-for.ts'
import { REGISTRY_TOPIC } from '../registry-store.ts'
import { topicSettings, type TopicInspector } from '../wire/servers.ts'
import { compareTopics, type ProvisionPlan, type WantedTopic } from './compare.ts'
import { requiredTopics } from './required-topics.ts'

export interface LookOptions {
  readonly pipeline: Pipeline
  /** null: as they are, else the default. */
  readonly partitions: number | null
  /** null: three, or as many as there are brokers. */
  readonly replicationFactor: number | null
  /** Whether schemas are kept by a registry; else they need a topic. */
  readonly hasRegistry: boolean
}

const DEFAULT_COPIES = 3

/** What a pipeline needs of a cluster, beside what is there. Changes nothing. @throws LogError, TopologyError */
export async function lookAtTopics(
  kafka: TopicInspector,
  { pipeline, partitions, replicationFactor, hasRegistry }: LookOptions,
): Promise<{
  readonly plan: Plan
  readonly wanted: readonly WantedTopic[]
  readonly difference: ProvisionPlan
}> {
  const plan = await planFor(pipeline, partitions, async (names) =>
    (await kafka.describe(names, [])).map((topic) => topic?.partitions ?? null),
  )
  const wanted = requiredTopics(plan, {
    replicationFactor: replicationFactor ?? Math.min(DEFAULT_COPIES, kafka.brokerCount),
    registryTopic: hasRegistry ? null : REGISTRY_TOPIC,
  }).map((topic) => ({ ...topic, settings: topicSettings(topic.config) }))
  const settings = [...new Set(wanted.flatMap((topic) => Object.keys(topic.settings)))]
  const found = await kafka.describe(
    wanted.map(({ name }) => name),
    settings,
  )
  return { plan, wanted, difference: compareTopics(wanted, found) }
}
