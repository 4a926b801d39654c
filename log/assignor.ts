import type { TopicPartition } from './port.ts'

export interface AssignedMember {
  readonly memberId: string
  /** Each inner list: topics whose equal partition numbers go together. */
  readonly topics: readonly (readonly string[])[]
  /** What it had before. */
  readonly previous: readonly TopicPartition[]
}

/**
 * Shares the partitions out: each list of topics as evenly as its partitions allow, the odd ones to
 * who has least, and of what remains possible, what moves least.
 *
 * @param partitionsOf the number of partitions of a topic
 * @returns each member's partitions, by member id
 */
export function assignPartitions(
  members: readonly AssignedMember[],
  partitionsOf: (topic: string) => number,
): Map<string, TopicPartition[]> {
  const assigned = new Map<string, TopicPartition[]>(members.map(({ memberId }) => [memberId, []]))
  const lists = new Map<string, readonly string[]>()
  for (const { topics } of members) for (const list of topics) lists.set(JSON.stringify(list), list)

  for (const [key, list] of [...lists].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const takers = members.filter(({ topics }) => topics.some((topic) => JSON.stringify(topic) === key))
    const count = Math.max(0, ...list.map(partitionsOf))
    for (const [memberId, numbers] of shareOut(list, count, takers, assigned)) {
      const partitions = assigned.get(memberId)!
      for (const partition of numbers.sort((a, b) => a - b)) {
        for (const topic of list) if (partition < partitionsOf(topic)) partitions.push({ topic, partition })
      }
    }
  }
  return assigned
}

function shareOut(
  list: readonly string[],
  count: number,
  takers: readonly AssignedMember[],
  assigned: ReadonlyMap<string, readonly TopicPartition[]>,
): Map<string, number[]> {
  const had = new Map<string, number[]>()
  for (const { memberId, previous } of takers) {
    const numbers = previous.filter(({ topic }) => topic === list[0]).map(({ partition }) => partition)
    had.set(
      memberId,
      numbers.filter((partition) => partition < count),
    )
  }
  const load = (memberId: string): number => assigned.get(memberId)!.length
  const order = takers
    .map(({ memberId }) => memberId)
    .sort((a, b) => load(a) - load(b) || had.get(b)!.length - had.get(a)!.length)
  const quota = new Map<string, number>()
  order.forEach((memberId, i) => {
    quota.set(memberId, Math.floor(count / order.length) + (i < count % order.length ? 1 : 0))
  })

  const shares = new Map<string, number[]>()
  const taken = new Set<number>()
  for (const memberId of order) {
    const kept = had
      .get(memberId)!
      .filter((partition) => !taken.has(partition))
      .slice(0, quota.get(memberId))
    for (const partition of kept) taken.add(partition)
    shares.set(memberId, kept)
  }
  const free = Array.from({ length: count }, (_, partition) => partition).filter((p) => !taken.has(p))
  for (const memberId of order) {
    const share = shares.get(memberId)!
    share.push(...free.splice(0, quota.get(memberId)! - share.length))
  }
  return shares
}
