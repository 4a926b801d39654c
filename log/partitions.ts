import type { Log, TopicPartition } from './port.ts'

/** Every partition of a topic that has so many. */
export function partitionsOf(topic: string, count: number): TopicPartition[] {
  return Array.from({ length: count }, (_, partition) => ({ topic, partition }))
}

/** By topic; 0: it is not there. */
export type PartitionCounts = ReadonlyMap<string, number>

export async function partitionCounts(log: Log, names: readonly string[]): Promise<PartitionCounts> {
  const topics = [...new Set(names)]
  const found = await log.admin.describeTopics(topics)
  return new Map(topics.map((topic, i) => [topic, found[i]?.partitions ?? 0]))
}
