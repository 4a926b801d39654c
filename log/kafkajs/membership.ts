import { runningCohort, type Share } from '../assignor.ts'
import { LogError } from '../errors.ts'
import type { GroupMetadata, TopicPartition } from '../port.ts'
import {
  ASSIGNER_PROTOCOL,
  assignGroup,
  decodeAssignment,
  decodeClaim,
  encodeAssignment,
  encodeClaim,
} from './assigner.ts'
import { type Client, MAIN_LANE } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { isPassing, KAFKA, kafkaError } from './errors.ts'
import {
  heartbeatRequest,
  joinGroupRequest,
  leaveGroupRequest,
  syncGroupRequest,
  type JoinedGroup,
} from './kafkajs-requests.ts'
import { PartitionWatch } from './partition-watch.ts'

export interface MembershipOptions {
  readonly groupId: string
  readonly topics: readonly (readonly string[])[]
  readonly cohort: string
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** A member that does not poll for so long leaves; others wait so long for it to join again. */
  readonly maxPollIntervalMs: number
  readonly metadataMaxAgeMs: number
  /** Of its own: the broker holds a joining member's connection until the others have joined. */
  readonly lane: string
  /** Something has happened that `poll` has to see to. */
  readonly wake: () => void
  readonly report: (message: string) => void
}

export interface Assignment extends Share {
  readonly group: GroupMetadata
}

/**
 * The group may take as long as its slowest member; but who asks again takes only its own earlier place, so that
 * nobody has to wait that long on a connection that may be dead.
 */
const JOIN_WAIT_MS = 10_000

type State = 'out' | 'joining' | 'joined'

/** The group does not know this member as it is: it has to join anew. */
const MOVED_ON: ReadonlySet<number> = new Set([
  KAFKA.illegalGeneration,
  KAFKA.unknownMemberId,
  KAFKA.rebalanceInProgress,
])

/*
 *   out ──join──► joining ──the group is complete──► joined ──heartbeat: a rebalance──► joined, to join again
 *    ▲                                                  │
 *    └────────── left; the group has lost it ───────────┘
 */

/**
 * This member's side of Kafka's group protocol: joins in the background, keeps the membership alive by a timer of
 * its own, whatever `poll` is doing, and says when the group wants to share its partitions out anew.
 */
export class Membership {
  readonly #client: Client
  readonly #coordinators: Coordinators
  readonly #options: MembershipOptions
  #state: State = 'out'
  #memberId = ''
  #generation = -1
  #isRebalancing = false
  #assignment: Assignment | null = null
  #error: Error | null = null
  #previous: readonly TopicPartition[] = []
  #previousGeneration = -1
  /** What this member, as the leader, has shared out: the partitions of each topic. */
  #sharedOut: ReadonlyMap<string, number> | null = null
  readonly #watch: PartitionWatch
  #heartbeats: NodeJS.Timeout | null = null
  #isBeating = false
  #isPolling = false
  #polledMs = performance.now()
  #isClosed = false

  constructor(client: Client, coordinators: Coordinators, options: MembershipOptions) {
    this.#client = client
    this.#coordinators = coordinators
    this.#options = options
    this.#watch = new PartitionWatch(client, options.metadataMaxAgeMs, () => {
      // A leader that joins again makes the group share out anew.
      this.#isRebalancing = true
      options.wake()
    })
  }

  /** Whether the member has to give up its partitions and join (again). */
  get mustJoin(): boolean {
    return this.#state === 'out' || (this.#state === 'joined' && this.#isRebalancing)
  }

  /** For the time of a poll: who polls is never too slow. */
  set isPolling(isPolling: boolean) {
    this.#isPolling = isPolling
    this.#polledMs = performance.now()
  }

  /** Joins in the background; `wake` is called when there is an assignment, or an error for `takeAssignment`. */
  join(): void {
    this.#state = 'joining'
    this.#isRebalancing = false
    this.#assignment = null
    this.#stopTimers()
    this.#join().then(
      () => this.#options.wake(),
      (error: unknown) => {
        this.#state = 'out'
        if (!this.#isClosed) this.#error = error as Error
        this.#options.wake()
      },
    )
  }

  /** The assignment of a generation, once. @throws LogError why joining failed */
  takeAssignment(): Assignment | null {
    if (this.#error !== null) {
      const error = this.#error
      this.#error = null
      throw error
    }
    const assignment = this.#assignment
    this.#assignment = null
    if (assignment === null || this.#isRebalancing) return null
    this.#previous = assignment.partitions
    this.#previousGeneration = assignment.group.generation
    return assignment
  }

  /** Tells the group, so that others take over at once. The next `join` is that of a new member. */
  async leave(): Promise<void> {
    this.#stopTimers()
    const memberId = this.#memberId
    this.#state = 'out'
    this.#memberId = ''
    this.#assignment = null
    if (memberId === '' || this.#client.isClosing) return
    const { groupId } = this.#options
    const request = leaveGroupRequest(groupId, memberId)
    try {
      // Not in its own lane, where an answer to a join may be outstanding.
      await this.#client.retrying(
        `Leaving group ${groupId}`,
        () => this.#coordinators.send('group', groupId, request, (code) => code, { lane: MAIN_LANE }),
        this.#options.sessionTimeoutMs,
      )
    } catch {
      // The group finds out by the session time-out.
    }
  }

  /** At once, and without a word to the group: the log is closed under it. */
  abandon(): void {
    this.#isClosed = true
    this.#stopTimers()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.leave()
    this.#client.closeLane(this.#options.lane)
  }

  async #join(): Promise<void> {
    const { groupId } = this.#options
    const retry = this.#client.retry(`Joining group ${groupId}`, Infinity)
    try {
      for (;;) {
        try {
          if (this.#isClosed) throw this.#closed()
          await this.#client.topics([...new Set(this.#options.topics.flat())])
          const joined = await this.#joinGroup()
          if (joined === null) continue
          const share = await this.#syncGroup(joined)
          if (share === null) continue
          this.#enter(joined, share)
          return
        } catch (error) {
          if (this.#isClosed || !isPassing(error)) throw error
          await retry.pause(error)
        }
      }
    } finally {
      retry.succeeded()
    }
  }

  #enter({ memberId, generationId: generation }: JoinedGroup, share: Share): void {
    if (this.#isClosed) return
    this.#generation = generation
    this.#assignment = { ...share, group: { groupId: this.#options.groupId, memberId, generation } }
    this.#state = 'joined'
    this.#startTimers()
  }

  /** Null: to be tried again at once, as what the answer made of this member. */
  async #joinGroup(): Promise<JoinedGroup | null> {
    const { groupId, sessionTimeoutMs, maxPollIntervalMs, topics, cohort, lane } = this.#options
    const request = joinGroupRequest({
      groupId,
      memberId: this.#memberId,
      sessionTimeoutMs,
      rebalanceTimeoutMs: maxPollIntervalMs,
      protocol: ASSIGNER_PROTOCOL,
      metadata: encodeClaim({
        topics,
        cohort,
        previous: this.#previous,
        previousGeneration: this.#previousGeneration,
      }),
    })
    const joined = await this.#coordinators.send('group', groupId, request, ({ errorCode }) => errorCode, {
      lane,
      waitMs: JOIN_WAIT_MS,
    })
    if (this.#isClosed) throw this.#closed()
    switch (joined.errorCode) {
      case 0:
        this.#memberId = joined.memberId
        return joined
      case KAFKA.memberIdRequired:
        this.#memberId = joined.memberId
        return null
      case KAFKA.unknownMemberId:
        this.#memberId = ''
        return null
      case KAFKA.illegalGeneration:
      case KAFKA.rebalanceInProgress:
        return null
      default:
        throw kafkaError(joined.errorCode, `Joining group ${groupId}`)
    }
  }

  /** Null: the group has moved on meanwhile, to be joined again at once. */
  async #syncGroup(joined: JoinedGroup): Promise<Share | null> {
    const { groupId, lane } = this.#options
    const { memberId, generationId: generation } = joined
    this.#sharedOut = null
    const request = syncGroupRequest({
      groupId,
      memberId,
      generation,
      assignments: joined.leaderId === memberId ? await this.#assign(joined) : [],
    })
    const synced = await this.#coordinators.send('group', groupId, request, ({ errorCode }) => errorCode, {
      lane,
      waitMs: JOIN_WAIT_MS,
    })
    if (synced.errorCode === 0) return decodeAssignment(synced.memberAssignment)
    if (!MOVED_ON.has(synced.errorCode)) throw kafkaError(synced.errorCode, `Joining group ${groupId}`)
    if (synced.errorCode === KAFKA.unknownMemberId) this.#memberId = ''
    return null
  }

  async #assign({ members }: JoinedGroup): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
    const claims = members.map(({ memberId, memberMetadata }) => ({
      memberId,
      claim: decodeClaim(memberMetadata),
    }))
    // Of those that wait, a topic may not be there yet.
    const running = runningCohort(claims.map(({ claim }) => claim))
    const topicsOfRunning = claims.flatMap(({ claim }) =>
      claim.cohort === running ? claim.topics.flat() : [],
    )
    const names = [...new Set(topicsOfRunning)]
    const topics = await this.#client.topics(names)
    const counts = new Map(topics.map(({ name, partitions }) => [name, partitions.length]))
    this.#sharedOut = counts
    const assigned = assignGroup(claims, (topic) => counts.get(topic)!)
    return [...assigned].map(([memberId, share]) => ({
      memberId,
      memberAssignment: encodeAssignment(share),
    }))
  }

  #startTimers(): void {
    this.#stopTimers()
    this.#heartbeats = setInterval(() => void this.#beat(), this.#options.heartbeatIntervalMs)
    if (this.#sharedOut !== null) this.#watch.start(this.#sharedOut)
  }

  #stopTimers(): void {
    if (this.#heartbeats !== null) clearInterval(this.#heartbeats)
    this.#heartbeats = null
    this.#watch.stop()
  }

  async #beat(): Promise<void> {
    if (this.#isBeating) return
    this.#isBeating = true
    const generation = this.#generation
    const memberId = this.#memberId
    try {
      if (this.#isTooSlow()) {
        await this.#leaveAsTooSlow()
        return
      }
      const { groupId, lane } = this.#options
      const request = heartbeatRequest(groupId, memberId, generation)
      const errorCode = await this.#coordinators.send('group', groupId, request, (code) => code, { lane })
      // Said of a generation that is over.
      if (generation !== this.#generation || this.#state !== 'joined' || errorCode === 0) return
      // Goes on beating until `poll` has seen to it: onRevoke has work to finish.
      if (!this.#isRebalancing) this.#options.wake()
      this.#isRebalancing = true
      if (errorCode === KAFKA.rebalanceInProgress) return
      this.#stopTimers()
      if (errorCode === KAFKA.unknownMemberId) this.#memberId = ''
    } catch {
      // The next one, at another coordinator or connection, or the session's end decides.
    } finally {
      this.#isBeating = false
    }
  }

  #isTooSlow(): boolean {
    return !this.#isPolling && performance.now() - this.#polledMs > this.#options.maxPollIntervalMs
  }

  async #leaveAsTooSlow(): Promise<void> {
    const { groupId, maxPollIntervalMs, report } = this.#options
    report(
      `Nobody has polled group ${groupId} for ${maxPollIntervalMs} ms: leaving it, so that others take over. The next poll joins again.`,
    )
    await this.leave()
  }

  #closed(): LogError {
    return new LogError('CLOSED', `The consumer of group ${this.#options.groupId} was closed: make a new one`)
  }
}
