import { assignToCohort, type Share } from '../assignor.ts'
import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type {
  GroupConsumer,
  GroupConsumerOptions,
  GroupMetadata,
  OffsetAndMetadata,
  TopicPartition,
} from '../port.ts'
import type { Fetched, SimulatedCluster } from './cluster.ts'
import { nameOf, type Assignments, type JoinAnswer, type JoinRequest, type SimulatedGroup } from './group.ts'
import { logError, requested } from './retry.ts'
import { ConnectionLost, Refusal, type ClientSettings, type Connection } from './wire.ts'

const RETRY_MS = 20

interface ClientDependencies {
  readonly cluster: SimulatedCluster
  readonly connection: Connection
  readonly settings: ClientSettings
}

/** An assigned partition: silent until it is sought. */
interface Position {
  readonly partition: TopicPartition
  next: number | null
  paused: boolean
  /** Counts seeks: what was fetched before one is not given out behind it. */
  version: number
}

/** Ends waits early; an event without a wait is not kept. */
class Signal {
  #waiting = Promise.withResolvers<void>()

  get raised(): Promise<void> {
    return this.#waiting.promise
  }

  raise(): void {
    this.#waiting.resolve()
    this.#waiting = Promise.withResolvers()
  }
}

/** The classic protocol's member, eager; its heartbeats go on beside `poll`. */
export class SimulatedGroupConsumer implements GroupConsumer {
  readonly #cluster: SimulatedCluster
  readonly #connection: Connection
  readonly #settings: ClientSettings
  readonly #options: GroupConsumerOptions
  readonly #signal = new Signal()
  readonly #closing = new AbortController()
  #memberId: string | null = null
  /** The generation that was handed to `onAssign`; null between revoke and assign. */
  #generation: number | null = null
  #assigned: readonly TopicPartition[] = []
  /** What it had last: an assignment that moves little asks for it. */
  #previous: readonly TopicPartition[] = []
  #previousGeneration = -1
  /** The cohort that `onWaiting` was told of. */
  #waitsFor: string | null = null
  #mustJoin = true
  #positions: Position[] = []
  #polling: Promise<unknown> | null = null
  #wakeup = false
  #isBeating = false

  constructor({ cluster, connection, settings }: ClientDependencies, options: GroupConsumerOptions) {
    this.#cluster = cluster
    this.#connection = connection
    this.#settings = settings
    this.#options = options
  }

  async poll(maxBytes: number, maxWaitMs: number): Promise<RecordBatch[]> {
    this.#assertOpen()
    if (this.#polling !== null) {
      throw new LogError('INVALID_STATE', `A poll of group ${this.#options.groupId} is under way: await it`)
    }
    const polling = this.#poll(maxBytes, this.#connection.nowMs() + maxWaitMs)
    this.#polling = polling.catch(() => undefined)
    try {
      return await polling
    } catch (error) {
      throw logError(error)
    } finally {
      this.#polling = null
    }
  }

  seek(partition: TopicPartition, offset: number): void {
    const position = this.#position(partition)
    position.next = offset
    position.version++
    this.#signal.raise()
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#position(partition).paused = true
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#position(partition).paused = false
    this.#signal.raise()
  }

  async committed(partitions: readonly TopicPartition[]): Promise<(OffsetAndMetadata | null)[]> {
    this.#assertOpen()
    try {
      return await requested<(OffsetAndMetadata | null)[]>(
        this.#connection,
        `OffsetFetch ${this.#options.groupId}`,
        (reply) => {
          for (const partition of partitions) this.#cluster.partition(partition)
          reply(this.#group.fetch(partitions, true))
        },
        { waitsFor: ['UNSTABLE_OFFSET_COMMIT'], isGone: () => this.#isClosed },
      )
    } catch (error) {
      throw logError(error)
    }
  }

  async commitOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    try {
      await requested<null>(this.#connection, `OffsetCommit ${group.groupId}`, (reply) => {
        for (const offset of offsets) this.#cluster.partition(offset)
        this.#cluster.group(group.groupId).commit(offsets, group)
        reply(null)
      })
    } catch (error) {
      throw logError(error)
    }
  }

  wakeup(): void {
    this.#wakeup = true
    this.#signal.raise()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#closing.abort()
    this.#signal.raise()
    await this.#polling
    try {
      await this.#revoke()
    } finally {
      await this.#leave()
    }
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  get #group(): SimulatedGroup {
    return this.#cluster.group(this.#options.groupId)
  }

  async #poll(maxBytes: number, deadlineMs: number): Promise<RecordBatch[]> {
    for (;;) {
      await this.#keepMembership()
      this.#assertOpen()
      const leftMs = Math.max(0, deadlineMs - this.#connection.nowMs())
      const batches = this.#wakeup ? [] : await this.#fetch(maxBytes, leftMs)
      const isOver = this.#connection.nowMs() >= deadlineMs && !this.#mustJoin
      if (batches.length > 0 || this.#wakeup || isOver) {
        this.#wakeup = false
        return batches
      }
    }
  }

  /** What there is now, or what comes while it waits; nothing where something else has to be seen to. */
  async #fetch(maxBytes: number, maxWaitMs: number): Promise<RecordBatch[]> {
    const asked = this.#positions
      .filter(({ next, paused }) => next !== null && !paused)
      .map((position) => ({
        position,
        partition: position.partition,
        from: position.next!,
        version: position.version,
      }))
    const { raised } = this.#signal
    if (asked.length === 0) {
      await Promise.race([raised, this.#connection.sleep(maxWaitMs)])
      return []
    }
    const answer = this.#connection.request<readonly Fetched[]>('Fetch', (reply) =>
      this.#cluster.fetch(asked, maxBytes, maxWaitMs, reply),
    )
    // Where it is not waited for any more.
    answer.catch(() => undefined)
    let fetched
    try {
      fetched = await Promise.race([answer, raised])
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      await Promise.race([raised, this.#connection.sleep(RETRY_MS)])
      return []
    }
    if (fetched === undefined || this.#mustJoin) return []
    const batches: RecordBatch[] = []
    for (const [i, { batch, nextOffset, refusal }] of fetched.entries()) {
      const { position, version } = asked[i]!
      if (position.version !== version || position.paused || !this.#positions.includes(position)) continue
      if (refusal !== null) throw refusal
      position.next = nextOffset
      if (batch !== null) batches.push(batch)
    }
    return batches
  }

  /** Goes through the rebalances that there are: gives up, joins, syncs, takes over. */
  async #keepMembership(): Promise<void> {
    while (this.#mustJoin && !this.#isClosed) {
      if (!this.#settings.joinsFirst) await this.#revoke()
      const joined = await this.#join()
      if (joined === null) continue
      await this.#revoke()
      const share = await this.#sync(joined)
      if (share !== null) await this.#assign(share, joined.generation)
    }
  }

  async #revoke(): Promise<void> {
    if (this.#generation === null) return
    const partitions = this.#assigned
    this.#generation = null
    this.#assigned = []
    try {
      await this.#options.onRevoke(partitions)
    } finally {
      this.#positions = []
    }
  }

  async #join(): Promise<JoinAnswer | null> {
    const { topics, groupId } = this.#options
    this.#memberId ??= `member-${this.#connection.random().toString(36).slice(2, 10)}`
    const request: JoinRequest = {
      memberId: this.#memberId,
      topics,
      cohort: this.#options.cohort ?? '',
      sessionTimeoutMs: this.#options.sessionTimeoutMs ?? this.#settings.sessionTimeoutMs,
      rebalanceTimeoutMs: this.#settings.rebalanceTimeoutMs,
      previous: this.#previous,
      previousGeneration: this.#previousGeneration,
    }
    return this.#untilClosed(
      this.#connection.request<JoinAnswer>(`JoinGroup ${groupId} ${this.#memberId}`, (reply) => {
        for (const topic of topics.flat()) this.#cluster.partition({ topic, partition: 0 })
        this.#group.join(request, reply)
      }),
    )
  }

  async #sync({ generation, members }: JoinAnswer): Promise<Share | null> {
    const group = this.#metadata(generation)
    const assignments: Assignments | null =
      members === null
        ? null
        : assignToCohort(members, (topic) => this.#cluster.topic(topic)?.config.partitions ?? 0)
    return this.#untilClosed(
      this.#connection.request<Share>(
        `SyncGroup ${group.groupId} ${group.memberId} generation ${generation}`,
        (reply) => this.#group.sync(group, assignments, reply),
      ),
    )
  }

  async #assign({ partitions, waitsFor }: Share, generation: number): Promise<void> {
    this.#positions = partitions.map((partition) => ({ partition, next: null, paused: false, version: 0 }))
    this.#generation = generation
    this.#assigned = partitions
    this.#previous = partitions
    this.#previousGeneration = generation
    this.#mustJoin = false
    void this.#beat()
    try {
      await this.#options.onAssign(partitions, this.#metadata(generation))
    } catch (error) {
      // Its partitions are not open: out, so that the next poll revokes them and joins anew.
      await this.#leave()
      this.#mustJoin = true
      throw error
    }
    if (waitsFor !== null && waitsFor !== this.#waitsFor) this.#options.onWaiting?.(waitsFor)
    this.#waitsFor = waitsFor
  }

  /** null where it has to be tried again: the connection broke, or the group has moved on. */
  async #untilClosed<A>(answer: Promise<A>): Promise<A | null> {
    answer.catch(() => undefined)
    const closed = new Promise<null>((resolve) => {
      if (this.#isClosed) resolve(null)
      else this.#closing.signal.addEventListener('abort', () => resolve(null), { once: true })
    })
    // What waits for the others is answered when their time is up, or never: the request was lost on the way.
    const given = this.#connection.sleep(2 * this.#settings.rebalanceTimeoutMs).then(() => null)
    try {
      return await Promise.race([answer, closed, given])
    } catch (error) {
      if (error instanceof ConnectionLost) {
        await this.#connection.sleep(RETRY_MS, this.#closing.signal)
        return null
      }
      if (!(error instanceof Refusal) || !this.#takeRefusal(error)) throw error
      return null
    }
  }

  /** Only one at a time, while there is a generation to keep alive. */
  async #beat(): Promise<void> {
    if (this.#isBeating) return
    this.#isBeating = true
    while (this.#generation !== null && !this.#isClosed) {
      await this.#connection.sleep(this.#settings.heartbeatMs, this.#closing.signal)
      if (!this.#mustJoin) await this.#sayAlive()
    }
    this.#isBeating = false
  }

  async #sayAlive(): Promise<void> {
    const generation = this.#generation
    if (generation === null || this.#isClosed) return
    const group = this.#metadata(generation)
    try {
      await this.#connection.request<null>(
        `Heartbeat ${group.memberId} generation ${generation}`,
        (reply) => {
          this.#group.heartbeat(group)
          reply(null)
        },
      )
    } catch (error) {
      // One that was lost is made good by the next.
      if (error instanceof Refusal && generation === this.#generation) this.#takeRefusal(error)
    }
  }

  /** @returns whether joining again is the answer to it */
  #takeRefusal({ code }: Refusal): boolean {
    if (code === 'UNKNOWN_MEMBER_ID') this.#memberId = null
    else if (code !== 'ILLEGAL_GENERATION' && code !== 'REBALANCE_IN_PROGRESS') return false
    this.#mustJoin = true
    this.#signal.raise()
    return true
  }

  async #leave(): Promise<void> {
    const memberId = this.#memberId
    this.#memberId = null
    if (memberId === null) return
    const left = this.#connection.request<null>(`LeaveGroup ${memberId}`, (reply) => {
      this.#group.leave(memberId)
      reply(null)
    })
    // What it does not reach ends with the session.
    await left.catch(() => undefined)
  }

  #metadata(generation: number): GroupMetadata {
    return { groupId: this.#options.groupId, memberId: this.#memberId ?? '', generation }
  }

  #position(partition: TopicPartition): Position {
    const found = this.#positions.find((position) => nameOf(position.partition) === nameOf(partition))
    if (found !== undefined) return found
    throw new LogError(
      'INVALID_STATE',
      `${nameOf(partition)} is not assigned to this member of group ${this.#options.groupId}`,
    )
  }

  #assertOpen(): void {
    if (this.#isClosed) {
      throw new LogError(
        'CLOSED',
        `The consumer of group ${this.#options.groupId} was closed: make a new one`,
      )
    }
  }
}
