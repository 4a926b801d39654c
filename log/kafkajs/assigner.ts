import { MemberAssignment, MemberMetadata } from 'kafkajs/src/consumer/assignerProtocol.js'
import { assignToCohort, NO_SHARE, type CohortMember, type Share } from '../assignor.ts'
import type { TopicPartition } from '../port.ts'

/** As the group's members agree on it: members that speak another cannot join. */
export const ASSIGNER_PROTOCOL = 'millrace-sticky'

const VERSION = 1
const NOTHING = Buffer.alloc(0)

/** What a member tells the group's leader when it joins. */
export interface MemberClaim {
  /** Each inner list: topics whose equal partition numbers go together. */
  readonly topics: readonly (readonly string[])[]
  readonly cohort: string
  /** What it had, and in which generation: -1: nothing yet. */
  readonly previous: readonly TopicPartition[]
  readonly previousGeneration: number
}

export function encodeClaim(claim: MemberClaim): Buffer {
  const { topics, cohort, previousGeneration } = claim
  const previous = numbersByTopic(claim.previous)
  const userData = JSON.stringify({ topics, cohort, previousGeneration, previous })
  return MemberMetadata.encode({
    version: VERSION,
    topics: [...new Set(topics.flat())],
    userData: Buffer.from(userData),
  })
}

export function decodeClaim(metadata: Buffer): MemberClaim {
  const { userData } = MemberMetadata.decode(metadata)
  const { topics, cohort, previousGeneration, previous } = JSON.parse(userData.toString()) as {
    topics: string[][]
    cohort: string
    previousGeneration: number
    previous: Record<string, number[]>
  }
  return { topics, cohort, previousGeneration, previous: partitionsIn(previous) }
}

export function encodeAssignment({ partitions, waitsFor }: Share): Buffer {
  return MemberAssignment.encode({
    version: VERSION,
    assignment: numbersByTopic(partitions),
    userData: waitsFor === null ? NOTHING : Buffer.from(JSON.stringify({ waitsFor })),
  })
}

export function decodeAssignment(assignment: Buffer): Share {
  const decoded = MemberAssignment.decode(assignment)
  if (decoded === null) return NO_SHARE
  const { userData } = decoded
  const { waitsFor } = (userData.length === 0 ? { waitsFor: null } : JSON.parse(userData.toString())) as Share
  return { partitions: partitionsIn(decoded.assignment), waitsFor }
}

/**
 * Shares the partitions out among the members of the running cohort, as the leader does: co-partitioned topics
 * together, evenly, and of what remains possible, what moves least.
 *
 * @param partitionsOf the number of partitions of a topic
 * @returns each member's share, by member id
 */
export function assignGroup(
  members: readonly { readonly memberId: string; readonly claim: MemberClaim }[],
  partitionsOf: (topic: string) => number,
): Map<string, Share> {
  const owners = new Map<string, { memberId: string; generation: number }>()
  for (const { memberId, claim } of members) {
    for (const { topic, partition } of claim.previous) {
      const name = `${topic} ${partition}`
      const owner = owners.get(name)
      // A member that missed generations still claims what others have had since.
      if (owner === undefined || owner.generation < claim.previousGeneration) {
        owners.set(name, { memberId, generation: claim.previousGeneration })
      }
    }
  }
  // Kafka gives the members in any order; the same claims are to give the same shares.
  const sorted = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
  const assigned = sorted.map(({ memberId, claim }): CohortMember => ({
    memberId,
    ...claim,
    previous: claim.previous.filter(
      ({ topic, partition }) => owners.get(`${topic} ${partition}`)!.memberId === memberId,
    ),
  }))
  return assignToCohort(assigned, partitionsOf)
}

function numbersByTopic(partitions: readonly TopicPartition[]): Record<string, number[]> {
  const byTopic: Record<string, number[]> = {}
  for (const { topic, partition } of partitions) (byTopic[topic] ??= []).push(partition)
  return byTopic
}

function partitionsIn(byTopic: Readonly<Record<string, readonly number[]>>): TopicPartition[] {
  return Object.entries(byTopic).flatMap(([topic, numbers]) =>
    numbers.map((partition) => ({ topic, partition })),
  )
}
