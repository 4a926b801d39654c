import { HEADERS_END, KEY_END, KEY_START, STRIDE, VALUE_END, type RecordBatch } from '../batch.ts'
import { NO_SHARE } from '../assignor.ts'
import { LogError } from '../errors.ts'
import type {
  GroupConsumer,
  GroupConsumerOptions,
  GroupMetadata,
  OffsetAndMetadata,
  TopicPartition,
} from '../port.ts'
import type { LogCore } from './core.ts'
import { assertOffsets } from './group-offsets.ts'
import type { Group, Groups, Member } from './groups.ts'
import type { Partition } from './partition.ts'
import { Wait } from './wait.ts'

/** An assigned partition: silent until it is sought. */
interface Fetch {
  readonly partition: Partition
  position: number | null
  paused: boolean
}

/**
 * A member of a group. All of its part in rebalances happens inside `poll`: it gives up its
 * partitions (`onRevoke`), waits for the next generation, and takes over what it gets (`onAssign`).
 */
export class EmbeddedGroupConsumer implements GroupConsumer {
  readonly #core: LogCore
  readonly #groups: Groups
  readonly #group: Group
  readonly #options: GroupConsumerOptions
  readonly #member: Member
  readonly #wait = new Wait()
  readonly #stopListening: () => void
  /** The generation whose partitions were handed to `onAssign`; null between revoke and assign. */
  #generation: number | null = null
  #assigned: readonly TopicPartition[] = []
  #fetches: Fetch[] = []
  #next = 0
  /** The cohort that `onWaiting` was told of. */
  #waitsFor: string | null = null
  #polling: Promise<unknown> | null = null
  #wakeup = false
  #closed = false

  constructor(core: LogCore, groups: Groups, options: GroupConsumerOptions) {
    this.#core = core
    this.#groups = groups
    this.#options = options
    this.#group = groups.get(options.groupId)
    this.#member = {
      memberId: core.options.randomId(),
      topics: options.topics,
      cohort: options.cohort ?? '',
      sessionTimeoutMs: options.sessionTimeoutMs ?? 10_000,
      wake: () => this.#wait.end(),
      lastSeenMs: 0,
      polling: false,
      rejoined: false,
      share: NO_SHARE,
      generation: -1,
    }
    this.#stopListening = core.whenClosing(() => this.#wait.end())
  }

  async poll(maxBytes: number, maxWaitMs: number): Promise<RecordBatch[]> {
    this.#assertOpen()
    if (this.#polling !== null) {
      throw new LogError(
        'INVALID_STATE',
        `A poll of group ${this.#group.groupId} is under way: await it first`,
      )
    }
    const polling = this.#poll(maxBytes, performance.now() + maxWaitMs)
    this.#polling = polling.catch(() => undefined)
    try {
      return await polling
    } finally {
      this.#polling = null
    }
  }

  seek(partition: TopicPartition, offset: number): void {
    this.#fetch(partition).position = offset
    this.#wait.end()
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#fetch(partition).paused = true
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#fetch(partition).paused = false
    this.#wait.end()
  }

  async committed(partitions: readonly TopicPartition[]): Promise<(OffsetAndMetadata | null)[]> {
    const { offsets } = this.#group
    for (;;) {
      this.#assertOpen()
      for (const partition of partitions) this.#core.partition(partition)
      if (!offsets.isHeld(partitions)) return partitions.map((partition) => offsets.get(partition))
      const changed = offsets.changed()
      // A dead producer's transaction ends by its time-out, when somebody looks.
      this.#core.onBlocked()
      await changed
    }
  }

  async commitOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    assertOffsets(offsets)
    for (const offset of offsets) this.#core.partition(offset)
    const target = this.#groups.get(group.groupId)
    target.assertCurrent(group)
    const owner = {}
    target.offsets.hold(owner, offsets)
    try {
      await this.#core.writer.write(target.offsets.changes(owner), () => target.offsets.release(owner, true))
    } catch (error) {
      target.offsets.release(owner, false)
      throw error
    }
  }

  wakeup(): void {
    this.#wakeup = true
    this.#wait.end()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#wait.end()
    await this.#polling
    try {
      await this.#revoke()
    } finally {
      this.#group.leave(this.#member)
      this.#stopListening()
    }
  }

  async #poll(maxBytes: number, deadline: number): Promise<RecordBatch[]> {
    const group = this.#group
    // Before it counts as polling: a member that comes too late is itself out of the group.
    group.expireMembers()
    this.#member.polling = true
    try {
      for (;;) {
        await this.#keepMembership()
        this.#assertOpen()
        const batches = this.#generation === null ? [] : this.#fetchBatches(maxBytes)
        const leftMs = deadline - performance.now()
        if (batches.length > 0 || this.#wakeup || leftMs <= 0) {
          this.#wakeup = false
          return batches
        }
        const sessionsMs = group.expireMembers() - this.#core.clock.nowMs()
        // Whoever was just found lost has changed the group: look again at once.
        if (!this.#isUpToDate()) continue
        await this.#wait.begin(Math.min(leftMs, Math.max(1, sessionsMs)))
      }
    } finally {
      this.#member.lastSeenMs = this.#core.clock.nowMs()
      this.#member.polling = false
    }
  }

  /** Goes through as much of a rebalance as does not need other members. */
  async #keepMembership(): Promise<void> {
    const group = this.#group
    group.expireMembers()
    while (!this.#isUpToDate() && !this.#closed) {
      if (!group.has(this.#member)) {
        await this.#revoke()
        group.join(this.#member)
      } else if (group.isRebalancing) {
        await this.#revoke()
        group.rejoin(this.#member)
      } else {
        await this.#assign()
      }
    }
  }

  /** True where only others, or records, can bring this member something to do. */
  #isUpToDate(): boolean {
    const group = this.#group
    if (!group.has(this.#member)) return false
    return group.isRebalancing ? this.#member.rejoined : this.#generation === group.generation
  }

  async #revoke(): Promise<void> {
    if (this.#generation === null) return
    const partitions = this.#assigned
    this.#generation = null
    this.#assigned = []
    try {
      await this.#options.onRevoke(partitions)
    } finally {
      for (const { partition } of this.#fetches) partition.listeners.delete(this.#member.wake)
      this.#fetches = []
    }
  }

  async #assign(): Promise<void> {
    const { groupId, generation } = this.#group
    const { memberId, share } = this.#member
    const { partitions, waitsFor } = share
    this.#fetches = partitions.map((partition) => ({
      partition: this.#core.partition(partition),
      position: null,
      paused: false,
    }))
    for (const { partition } of this.#fetches) partition.listeners.add(this.#member.wake)
    this.#next = 0
    this.#generation = generation
    this.#assigned = partitions
    try {
      await this.#options.onAssign(partitions, { groupId, memberId, generation })
    } catch (error) {
      // Its partitions are not open: out, so that the next poll revokes them and joins anew.
      this.#group.leave(this.#member)
      throw error
    }
    if (waitsFor !== null && waitsFor !== this.#waitsFor) this.#options.onWaiting?.(waitsFor)
    this.#waitsFor = waitsFor
  }

  /** Whole batches, in turn over the partitions; only the first is cut where it is over the limit. */
  #fetchBatches(maxBytes: number): RecordBatch[] {
    const batches: RecordBatch[] = []
    const fetches = this.#fetches
    let left = maxBytes
    let idle = 0
    while (idle < fetches.length && (left > 0 || batches.length === 0)) {
      const fetch = fetches[this.#next % fetches.length]!
      this.#next = (this.#next + 1) % fetches.length
      const { partition, position, paused } = fetch
      const batch =
        paused || position === null ? null : this.#core.read(partition, position, left, batches.length > 0)
      if (batch === null) {
        idle++
        continue
      }
      idle = 0
      fetch.position = batch.nextOffset
      left -= batchBytes(batch)
      batches.push(batch)
    }
    return batches
  }

  #fetch({ topic, partition }: TopicPartition): Fetch {
    const found = this.#fetches.find(
      (fetch) => fetch.partition.index === partition && fetch.partition.topic === topic,
    )
    if (found !== undefined) return found
    throw new LogError(
      'INVALID_STATE',
      `${topic}-${partition} is not assigned to member ${this.#member.memberId} of group ${this.#group.groupId}`,
    )
  }

  #assertOpen(): void {
    this.#core.assertOpen()
    if (this.#closed) {
      throw new LogError('CLOSED', `The consumer of group ${this.#group.groupId} was closed: make a new one`)
    }
  }
}

/** What a batch counts for: its records' bytes, also where it shares a larger buffer. */
function batchBytes({ positions, count }: RecordBatch): number {
  const last = (count - 1) * STRIDE
  const end = Math.max(
    positions[last + KEY_END]!,
    positions[last + VALUE_END]!,
    positions[last + HEADERS_END]!,
  )
  return Math.max(count, end - positions[KEY_START]!)
}
