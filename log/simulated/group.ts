import { NO_SHARE, type CohortMember, type Share } from '../assignor.ts'
import type { GroupDescription, GroupMetadata, OffsetAndMetadata, TopicPartition } from '../port.ts'
import type { Decision } from './partition.ts'
import { Refusal, type Wire } from './wire.ts'

export interface JoinRequest extends CohortMember {
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
}

export interface JoinAnswer {
  readonly generation: number
  /** All members where this one has to share the partitions out; else null. */
  readonly members: readonly JoinRequest[] | null
}

export type Assignments = ReadonlyMap<string, Share>

interface Member {
  request: JoinRequest
  lastSeenMs: number
  joining: ((answer: JoinAnswer | Refusal) => void) | null
  syncing: ((share: Share | Refusal) => void) | null
}

interface Committed {
  readonly offset: number
  readonly metadata: string
  /** Its place among all that was written: what came later wins, whatever is decided when. */
  readonly order: number
}

/**
 * A group and its coordinator, as the classic protocol has it:
 *
 *   empty ─join─► preparing ──all have joined, or the time for it is up: generation + 1──► completing ──the leader has synced──► stable
 *                    ▲────────────── a member joins, leaves or is lost ──────────────────────┴──────────────────────────────┘
 *
 * Between `completing` and `stable` a member has joined, and its old generation is over, but nobody
 * has been told what is whose.
 */
export class SimulatedGroup {
  readonly groupId: string
  readonly #wire: Wire
  #state: 'empty' | 'preparing' | 'completing' | 'stable' = 'empty'
  #generation = 0
  #rebalance = 0
  #leader: string | null = null
  #assignments: Assignments = new Map()
  #order = 0
  readonly #members = new Map<string, Member>()
  readonly #offsets = new Map<string, Committed>()
  /** Held by transactions that are not decided, by producer. */
  readonly #pending = new Map<number, Map<string, Committed>>()

  constructor(groupId: string, wire: Wire) {
    this.groupId = groupId
    this.#wire = wire
  }

  get name(): string {
    return `group ${this.groupId}`
  }

  describe(): GroupDescription {
    const isStable = this.#state === 'stable'
    const members = [...this.#members].map(([memberId, { request }]) => {
      const share = isStable ? (this.#assignments.get(memberId) ?? NO_SHARE) : NO_SHARE
      return { memberId, clientId: '', host: '', cohort: isStable ? request.cohort : '', ...share }
    })
    const state = isStable ? 'stable' : this.#state === 'empty' ? 'empty' : 'rebalancing'
    return { groupId: this.groupId, state, members }
  }

  join(request: JoinRequest, reply: (answer: JoinAnswer | Refusal) => void): void {
    const { memberId } = request
    const member = this.#members.get(memberId)
    const isRetry =
      member !== undefined &&
      (this.#state === 'completing' || (this.#state === 'stable' && memberId !== this.#leader))
    if (member === undefined) {
      this.#members.set(memberId, { request, lastSeenMs: 0, joining: null, syncing: null })
      this.#watch(memberId)
    }
    const joining = this.#members.get(memberId)!
    joining.request = request
    joining.lastSeenMs = this.#wire.nowMs()
    // Its first answer was lost: it is in the generation that stands.
    if (isRetry) {
      reply(this.#answerFor(memberId))
      return
    }
    joining.joining = reply
    this.#prepare()
  }

  sync(
    { memberId, generation }: GroupMetadata,
    assignments: Assignments | null,
    reply: (share: Share | Refusal) => void,
  ): void {
    const member = this.#checked(memberId, generation)
    if (this.#state === 'preparing') throw rebalancing(this.groupId)
    if (this.#state === 'completing') {
      member.syncing = reply
      if (memberId !== this.#leader || assignments === null) return
      this.#assignments = assignments
      this.#state = 'stable'
      for (const [id, { syncing }] of this.#members) syncing?.(this.#assignments.get(id) ?? NO_SHARE)
      for (const other of this.#members.values()) other.syncing = null
      return
    }
    reply(this.#assignments.get(memberId) ?? NO_SHARE)
  }

  heartbeat({ memberId, generation }: GroupMetadata): void {
    this.#checked(memberId, generation)
    if (this.#state === 'preparing') throw rebalancing(this.groupId)
  }

  leave(memberId: string): void {
    if (this.#members.has(memberId)) this.#remove(memberId)
  }

  commit(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): void {
    this.#assertMayCommit(group)
    if (this.#state === 'completing') throw rebalancing(this.groupId)
    for (const { offset, metadata, ...partition } of offsets) {
      this.#offsets.set(nameOf(partition), { offset, metadata, order: ++this.#order })
    }
  }

  /** TxnOffsetCommit: member and generation are checked now, never when the transaction ends (KIP-447). */
  commitInTransaction(
    offsets: readonly OffsetAndMetadata[],
    group: GroupMetadata | null,
    producerId: number,
  ): void {
    if (group !== null) this.#assertMayCommit(group)
    let pending = this.#pending.get(producerId)
    if (pending === undefined) this.#pending.set(producerId, (pending = new Map<string, Committed>()))
    for (const { offset, metadata, ...partition } of offsets) {
      pending.set(nameOf(partition), { offset, metadata, order: ++this.#order })
    }
  }

  /** The end of a transaction that held offsets. */
  writeMarker(producerId: number, _epoch: number, decision: Decision): void {
    const pending = this.#pending.get(producerId)
    this.#pending.delete(producerId)
    if (pending === undefined || decision === 'abort') return
    for (const [name, committed] of pending) {
      const before = this.#offsets.get(name)
      if (before === undefined || before.order < committed.order) this.#offsets.set(name, committed)
    }
  }

  fetch(partitions: readonly TopicPartition[], requireStable: boolean): (OffsetAndMetadata | null)[] {
    if (requireStable) {
      for (const pending of this.#pending.values()) {
        if (!partitions.some((partition) => pending.has(nameOf(partition)))) continue
        throw new Refusal(
          'UNSTABLE_OFFSET_COMMIT',
          `A transaction holds offsets of ${this.groupId} undecided`,
        )
      }
    }
    return partitions.map(({ topic, partition }) => {
      const found = this.#offsets.get(nameOf({ topic, partition }))
      return found === undefined ? null : { topic, partition, offset: found.offset, metadata: found.metadata }
    })
  }

  /** What the broker does when a group has been empty for longer than it keeps offsets. */
  expireOffsets(): void {
    this.#offsets.clear()
  }

  /** Drops what was committed for a topic that is deleted. */
  forget(topic: string): void {
    for (const name of [...this.#offsets.keys()])
      if (name.slice(0, name.lastIndexOf('/')) === topic) this.#offsets.delete(name)
  }

  #assertMayCommit({ memberId, generation }: GroupMetadata): void {
    if (generation === -1 && memberId === '' && this.#members.size === 0) return
    this.#checked(memberId, generation)
  }

  #checked(memberId: string, generation: number): Member {
    const member = this.#members.get(memberId)
    if (member === undefined) {
      throw new Refusal('UNKNOWN_MEMBER_ID', `Member ${memberId} is not in group ${this.groupId}`)
    }
    if (generation !== this.#generation) {
      throw new Refusal(
        'ILLEGAL_GENERATION',
        `Member ${memberId} speaks of generation ${generation} of group ${this.groupId}, which is at ${this.#generation}`,
      )
    }
    member.lastSeenMs = this.#wire.nowMs()
    return member
  }

  #prepare(): void {
    if (this.#state !== 'preparing') {
      this.#state = 'preparing'
      for (const member of this.#members.values()) {
        member.syncing?.(rebalancing(this.groupId))
        member.syncing = null
      }
      const rebalance = ++this.#rebalance
      const longestMs = Math.max(...[...this.#members.values()].map((m) => m.request.rebalanceTimeoutMs))
      this.#wire.after(longestMs, `rebalance time-out of ${this.groupId}`, () => {
        if (this.#state === 'preparing' && this.#rebalance === rebalance) this.#dropAbsent()
      })
    }
    this.#complete()
  }

  #dropAbsent(): void {
    for (const [id, { joining }] of this.#members) if (joining === null) this.#members.delete(id)
    this.#complete()
  }

  #complete(): void {
    const members = [...this.#members]
    if (members.some(([, { joining }]) => joining === null)) return
    this.#generation++
    this.#rebalance++
    this.#assignments = new Map()
    this.#state = members.length === 0 ? 'empty' : 'completing'
    this.#leader = members.some(([id]) => id === this.#leader) ? this.#leader : (members[0]?.[0] ?? null)
    for (const [id, member] of members) {
      member.lastSeenMs = this.#wire.nowMs()
      const answer = member.joining!
      member.joining = null
      answer(this.#answerFor(id))
    }
  }

  #answerFor(memberId: string): JoinAnswer {
    return {
      generation: this.#generation,
      members: memberId === this.#leader ? [...this.#members.values()].map(({ request }) => request) : null,
    }
  }

  #remove(memberId: string): void {
    this.#members.delete(memberId)
    if (this.#state === 'preparing') this.#complete()
    else if (this.#members.size > 0) this.#prepare()
    else this.#complete()
  }

  /** Removes the member when nothing has been heard of it for a session; who waits to join is there. */
  #watch(memberId: string): void {
    const member = this.#members.get(memberId)
    if (member === undefined) return
    const { sessionTimeoutMs } = member.request
    const leftMs = member.lastSeenMs + sessionTimeoutMs - this.#wire.nowMs()
    this.#wire.after(leftMs > 0 ? leftMs : sessionTimeoutMs, `session of ${memberId}`, () => {
      const current = this.#members.get(memberId)
      if (current !== member) return
      const isLost = member.joining === null && member.lastSeenMs + sessionTimeoutMs <= this.#wire.nowMs()
      if (isLost) this.#remove(memberId)
      else this.#watch(memberId)
    })
  }
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}

function rebalancing(groupId: string): Refusal {
  return new Refusal('REBALANCE_IN_PROGRESS', `Group ${groupId} is sharing its partitions out anew`)
}
