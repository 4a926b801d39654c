import type { TopicPartition } from './port.ts'

export interface AssignedMember {
  readonly memberId: string
  /** Each inner list: topics whose equal partition numbers go together. */
  readonly topics: readonly (readonly string[])[]
  /** What it had before. */
  readonly previous: readonly TopicPartition[]
}

export interface CohortMember extends AssignedMember {
  readonly cohort: string
  /** In which generation it had `previous`; -1: in none. */
  readonly previousGeneration: number
}

/** What one member gets. */
export interface Share {
  readonly partitions: readonly TopicPartition[]
  /** The cohort that has the partitions where this member's does not; else null. */
  readonly waitsFor: string | null
}

export const NO_SHARE: Share = { partitions: [], waitsFor: null }

/**
 * Who shares the partitions: the cohort that has had some in the latest generation, else the larger, else the first
 * by name.
 */
export function runningCohort(members: readonly Omit<CohortMember, 'memberId' | 'topics'>[]): string {
  const cohorts = [...Map.groupBy(members, ({ cohort }) => cohort)].map(([name, its]) => {
    const generations = its.map(({ previous, previousGeneration }) =>
      previous.length > 0 ? previousGeneration : -1,
    )
    return { name, size: its.length, generation: Math.max(...generations) }
  })
  cohorts.sort((a, b) => b.generation - a.generation || b.size - a.size || (a.name < b.name ? -1 : 1))
  return cohorts[0]?.name ?? ''
}

/** Shares the partitions out within the running cohort, as {@link assignPartitions}; by member id. */
export function assignToCohort(
  members: readonly CohortMember[],
  partitionsOf: (topic: string) => number,
): Map<string, Share> {
  const running = runningCohort(members)
  const assigned = assignPartitions(
    members.filter(({ cohort }) => cohort === running),
    partitionsOf,
  )
  return new Map(
    members.map(({ memberId }) => {
      const partitions = assigned.get(memberId)
      const share =
        partitions === undefined ? { partitions: [], waitsFor: running } : { partitions, waitsFor: null }
      return [memberId, share]
    }),
  )
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
