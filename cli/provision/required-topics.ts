import { sourcesTopic, sourcesTopicConfig } from '../../bridge/positions.ts'
import type { TopicConfig } from '../../log/port.ts'
import type { Plan } from '../../processor/topology/plan.ts'

export interface RequiredTopic {
  readonly name: string
  readonly config: TopicConfig
  /** State is built from it, so that its settings are not a matter of taste. */
  readonly isInternal: boolean
  /** Records of it are deleted when they are not needed any more. */
  readonly deletes: boolean
}

export interface Replication {
  readonly replicationFactor: number
}

/** With so many copies one broker may be away, and what is written still has two. */
const COPIES_THAT_LOSE_ONE = 3
const COMPACTED = { partitions: 1, cleanup: 'compact', retentionMs: -1 } as const

/**
 * Every topic that a pipeline needs in its log.
 * @param options.registryTopic where schemas are kept when there is no registry; null where there is one
 */
export function requiredTopics(
  plan: Plan,
  options: Replication & { readonly registryTopic: string | null },
): RequiredTopic[] {
  const { application, partitions, subTopologies, sinks, deadLetterTopic } = plan
  const external = new Set([
    ...subTopologies.filter(({ upstreams }) => upstreams.length === 0).map(({ inputTopic }) => inputTopic),
    ...sinks.map(({ topic }) => topic),
    deadLetterTopic,
  ])
  const repartition = new Set(
    subTopologies.filter(({ upstreams }) => upstreams.length > 0).map(({ inputTopic }) => inputTopic),
  )
  const windows = new Set(subTopologies.map(({ windowsTopic }) => windowsTopic))
  const internal = { isInternal: true, deletes: false }
  const topics = [
    ...plan.topics.map(({ name, ...config }) => ({
      name,
      config,
      isInternal: !external.has(name),
      deletes: repartition.has(name) || windows.has(name),
    })),
    { name: sourcesTopic(application), config: sourcesTopicConfig(partitions), ...internal },
    { name: `${application}.topology`, config: COMPACTED, ...internal },
    ...(options.registryTopic === null
      ? []
      : [{ name: options.registryTopic, config: COMPACTED, ...internal }]),
  ]
  const { replicationFactor } = options
  const copies = {
    replicationFactor,
    ...(replicationFactor >= COPIES_THAT_LOSE_ONE && { minInsyncReplicas: replicationFactor - 1 }),
  }
  return topics.map((topic) => ({ ...topic, config: { ...topic.config, ...copies } }))
}
