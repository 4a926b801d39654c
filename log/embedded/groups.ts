import { LogError } from '../errors.ts'
import type { GroupDescription, GroupMetadata } from '../port.ts'
import { assignToCohort, NO_SHARE, type Share } from '../assignor.ts'
import type { LogCore } from './core.ts'
import { GroupOffsets, parseOffsetEntry } from './group-offsets.ts'
import type { Change } from './storage.ts'

const GROUP = 'group'

/** All groups of the log, by id; one that nobody has named yet is empty. */
export class Groups {
  readonly #core: LogCore
  readonly #groups = new Map<string, Group>()

  constructor(core: LogCore, entries: ReadonlyMap<string, string>) {
    this.#core = core
    for (const [key, value] of entries) {
      const [kind, groupId] = key.split('\0')
      if (kind === GROUP) this.get(groupId!).generation = Number(value)
      const stored = parseOffsetEntry(key, value)
      if (stored !== null) this.get(stored.groupId).offsets.restore(stored.offset)
    }
  }

  /** @throws LogError INVALID_STATE when it cannot be a group's id */
  get(groupId: string): Group {
    let group = this.#groups.get(groupId)
    if (group !== undefined) return group
    if (groupId === '' || Buffer.byteLength(groupId) > 255 || groupId.includes('\0')) {
      throw new LogError('INVALID_STATE', `"${groupId}" cannot be a group's id: use 1 to 255 bytes`)
    }
    group = new Group(groupId, this.#core)
    this.#groups.set(groupId, group)
    return group
  }

  /** What is to be written when a topic, and with it its committed offsets, is deleted. */
  dropChanges(topic: string): Change[] {
    return [...this.#groups.values()].flatMap((group) => group.offsets.dropChanges(topic))
  }

  forget(topic: string): void {
    for (const group of this.#groups.values()) group.offsets.forget(topic)
  }

  wakeAll(): void {
    for (const group of this.#groups.values()) group.offsets.wake()
  }
}

/** What the group knows of a member; the consumer holds one at a time. */
export interface Member {
  readonly memberId: string
  readonly topics: readonly (readonly string[])[]
  readonly cohort: string
  readonly sessionTimeoutMs: number
  /** Ends the member's wait: there is something to do in its group. */
  readonly wake: () => void
  lastSeenMs: number
  /** In a `poll` right now, however long its callbacks take. */
  polling: boolean
  /** Has given up its partitions and waits for the next generation. */
  rejoined: boolean
  /** In the group's generation, or in the last one that it was in. */
  share: Share
  /** Of `share`; -1: none yet. */
  generation: number
}

/**
 * Membership, as Kafka's classic protocol has it, eager:
 *
 *   stable ──a member joins, leaves or is lost──► rebalancing ──all have rejoined──► stable, generation + 1
 *
 * While it rebalances, the old generation may still commit: its members finish in `onRevoke`.
 */
export class Group {
  readonly groupId: string
  readonly offsets: GroupOffsets
  generation = 0
  readonly #core: LogCore
  readonly #members = new Map<string, Member>()
  #rebalancing = false

  constructor(groupId: string, core: LogCore) {
    this.groupId = groupId
    this.offsets = new GroupOffsets(groupId)
    this.#core = core
  }

  get isRebalancing(): boolean {
    return this.#rebalancing
  }

  describe(): GroupDescription {
    const members = [...this.#members.values()].map(({ memberId, cohort, share }) => {
      const named = { memberId, clientId: '', host: '' }
      return this.#rebalancing ? { ...named, cohort: '', ...NO_SHARE } : { ...named, cohort, ...share }
    })
    const state = members.length === 0 ? 'empty' : this.#rebalancing ? 'rebalancing' : 'stable'
    return { groupId: this.groupId, state, members }
  }

  has(member: Member): boolean {
    return this.#members.get(member.memberId) === member
  }

  /** @throws LogError UNKNOWN_TOPIC when it asks for a topic that is not there */
  join(member: Member): void {
    for (const topic of member.topics.flat()) this.#core.partition({ topic, partition: 0 })
    this.#members.set(member.memberId, member)
    member.rejoined = true
    this.#rebalance()
  }

  rejoin(member: Member): void {
    member.rejoined = true
    this.#formGeneration()
  }

  leave(member: Member): void {
    if (!this.has(member)) return
    this.#members.delete(member.memberId)
    this.#rebalance()
  }

  /** Removes members whose session has run out. @returns when the next one will, epoch ms */
  expireMembers(): number {
    const nowMs = this.#core.clock.nowMs()
    let nextMs = Number.POSITIVE_INFINITY
    const lost: Member[] = []
    for (const member of this.#members.values()) {
      if (member.polling) continue
      const endMs = member.lastSeenMs + member.sessionTimeoutMs
      if (endMs < nowMs) lost.push(member)
      else nextMs = Math.min(nextMs, endMs + 1)
    }
    for (const member of lost) this.#members.delete(member.memberId)
    if (lost.length > 0) this.#rebalance()
    return nextMs
  }

  /**
   * Kafka checks when the offsets come, not when their transaction commits. Nobody's offsets
   * (generation -1) are accepted only while the group has no members, as for a reset.
   *
   * @throws LogError STALE_GENERATION
   */
  assertCurrent({ memberId, generation }: GroupMetadata): void {
    if (generation === -1 && memberId === '' && this.#members.size === 0) return
    const member = this.#members.get(memberId)
    if (member !== undefined && generation === this.generation) {
      member.lastSeenMs = this.#core.clock.nowMs()
      return
    }
    throw new LogError(
      'STALE_GENERATION',
      `Member ${memberId} commits for generation ${generation} of group ${this.groupId}, which is at ${this.generation}${member === undefined ? ' without it' : ''}: drop the tasks and poll to join again`,
    )
  }

  #rebalance(): void {
    this.#rebalancing = true
    this.#formGeneration()
    for (const member of this.#members.values()) member.wake()
  }

  #formGeneration(): void {
    const members = [...this.#members.values()]
    if (!this.#rebalancing || !members.every(({ rejoined }) => rejoined)) return
    this.#rebalancing = false
    this.generation++
    // Durable before anything that is committed under it, which is written later.
    this.#core.writer.touch(`${GROUP}\0${this.groupId}`, () => String(this.generation))
    const assigned = assignToCohort(
      members.map(({ memberId, topics, cohort, share, generation }) => ({
        memberId,
        topics,
        cohort,
        previous: share.partitions,
        previousGeneration: generation,
      })),
      (topic) => this.#core.topics.get(topic)?.partitions.length ?? 0,
    )
    for (const member of members) {
      member.rejoined = false
      member.share = assigned.get(member.memberId)!
      member.generation = this.generation
      member.wake()
    }
  }
}
