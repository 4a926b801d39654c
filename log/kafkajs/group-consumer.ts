import { setImmediate } from 'node:timers/promises'
import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type {
  GroupConsumer,
  GroupConsumerOptions,
  GroupMetadata,
  OffsetAndMetadata,
  TopicPartition,
} from '../port.ts'
import type { Client } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { assertAccepted, nameOf } from './errors.ts'
import { FetchedPartition, notAssigned } from './fetched-partition.ts'
import { Fetcher, type FetchOptions } from './fetcher.ts'
import { fetchOffsets } from './hardening/stale-offsets.ts'
import { offsetCommitRequest } from './kafkajs-requests.ts'
import { Membership, type Assignment } from './membership.ts'
import { Signal } from './signal.ts'

export interface ConsumerOptions extends FetchOptions {
  /** Without a heartbeat for so long the group goes on without this member, unless the consumer says otherwise. */
  readonly sessionTimeoutMs: number
  readonly maxPollIntervalMs: number
  /** Every so often the leader of a group looks whether topics have grown. */
  readonly metadataMaxAgeMs: number
  readonly report: (message: string) => void
}

const HEARTBEATS_A_SESSION = 20

/** Makes every consumer's lanes its own. */
let consumers = 0

/**
 * A member of a group. Its part in rebalances happens inside `poll`: it gives up its partitions (`onRevoke`), joins
 * in the background, and takes over what it gets (`onAssign`); heartbeats and fetches go on by themselves.
 */
export class KafkaGroupConsumer implements GroupConsumer {
  readonly #client: Client
  readonly #coordinators: Coordinators
  readonly #options: GroupConsumerOptions
  readonly #membership: Membership
  readonly #fetcher: Fetcher
  readonly #signal = new Signal()
  readonly #stopListening: () => void
  /** What was handed to `onAssign`; null between revoke and assign. */
  #assigned: Assignment | null = null
  readonly #partitions = new Map<string, FetchedPartition>()
  #polling: Promise<unknown> | null = null
  /** The cohort that `onWaiting` was told of. */
  #waitsFor: string | null = null
  #isWokenUp = false
  #isClosed = false

  constructor(
    client: Client,
    coordinators: Coordinators,
    options: GroupConsumerOptions,
    defaults: ConsumerOptions,
  ) {
    this.#client = client
    this.#coordinators = coordinators
    this.#options = options
    const number = ++consumers
    const sessionTimeoutMs = options.sessionTimeoutMs ?? defaults.sessionTimeoutMs
    const wake = (): void => this.#signal.raise()
    this.#fetcher = new Fetcher(client, `fetch ${number}`, defaults, wake)
    this.#membership = new Membership(client, coordinators, {
      groupId: options.groupId,
      topics: options.topics,
      cohort: options.cohort ?? '',
      sessionTimeoutMs,
      heartbeatIntervalMs: Math.ceil(sessionTimeoutMs / HEARTBEATS_A_SESSION),
      maxPollIntervalMs: defaults.maxPollIntervalMs,
      metadataMaxAgeMs: defaults.metadataMaxAgeMs,
      lane: `group ${number}`,
      wake,
      report: defaults.report,
    })
    this.#stopListening = client.whenClosing(() => {
      this.#membership.abandon()
      wake()
    })
  }

  async poll(maxBytes: number, maxWaitMs: number): Promise<RecordBatch[]> {
    this.#assertOpen()
    if (this.#polling !== null) {
      throw new LogError(
        'INVALID_STATE',
        `A poll of group ${this.#options.groupId} is under way: await it first`,
      )
    }
    this.#membership.isPolling = true
    const polling = this.#poll(maxBytes, performance.now() + maxWaitMs)
    this.#polling = polling.catch(() => undefined)
    try {
      return await polling
    } finally {
      this.#polling = null
      this.#membership.isPolling = false
    }
  }

  seek(partition: TopicPartition, offset: number): void {
    this.#partition(partition).seek(offset)
    this.#fetcher.wake()
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#partition(partition).isPaused = true
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#partition(partition).isPaused = false
    this.#fetcher.wake()
    this.#signal.raise()
  }

  async committed(partitions: readonly TopicPartition[]): Promise<(OffsetAndMetadata | null)[]> {
    this.#assertOpen()
    return fetchOffsets(this.#client, this.#coordinators, this.#options.groupId, partitions, true)
  }

  async commitOffsets(offsets: readonly OffsetAndMetadata[], group: GroupMetadata): Promise<void> {
    if (offsets.length === 0) return
    const subject = `Committing offsets of group ${group.groupId}, generation ${group.generation}`
    const request = offsetCommitRequest(group, offsets)
    await this.#client.retrying(subject, async () => {
      const answer = await this.#coordinators.send(
        'group',
        group.groupId,
        request,
        (results) => results.find(({ errorCode }) => errorCode !== 0)?.errorCode ?? 0,
      )
      for (const partition of answer) assertAccepted(partition.errorCode, `${subject}, ${nameOf(partition)}`)
    })
  }

  wakeup(): void {
    this.#isWokenUp = true
    this.#signal.raise()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#signal.raise()
    await this.#polling
    try {
      await this.#revoke()
    } finally {
      this.#stopListening()
      this.#fetcher.close()
      await this.#membership.close()
    }
  }

  async #poll(maxBytes: number, deadlineMs: number): Promise<RecordBatch[]> {
    // A loop of polls that all find something must not keep the fetches behind it from being answered.
    await setImmediate()
    for (;;) {
      await this.#keepMembership()
      this.#assertOpen()
      const batches = this.#assigned === null ? [] : this.#fetcher.take(maxBytes)
      const leftMs = deadlineMs - performance.now()
      if (batches.length > 0 || this.#isWokenUp || leftMs <= 0) {
        this.#isWokenUp = false
        return batches
      }
      await this.#signal.wait(leftMs)
    }
  }

  /** Goes through as much of a rebalance as does not need other members. */
  async #keepMembership(): Promise<void> {
    while (!this.#isClosed) {
      const assignment = this.#membership.takeAssignment()
      if (assignment !== null) await this.#assign(assignment)
      else if (this.#membership.mustJoin) {
        await this.#revoke()
        this.#membership.join()
      } else return
    }
  }

  async #revoke(): Promise<void> {
    if (this.#assigned === null) return
    const { partitions } = this.#assigned
    this.#assigned = null
    try {
      await this.#options.onRevoke(partitions)
    } finally {
      this.#fetcher.assign([])
      this.#partitions.clear()
    }
  }

  async #assign(assignment: Assignment): Promise<void> {
    for (const partition of assignment.partitions) {
      const fetched = new FetchedPartition(partition)
      this.#partitions.set(fetched.name, fetched)
    }
    this.#fetcher.assign([...this.#partitions.values()])
    this.#assigned = assignment
    try {
      await this.#options.onAssign(assignment.partitions, assignment.group)
    } catch (error) {
      // Its partitions are not open: out, so that the next poll revokes them and joins anew.
      await this.#membership.leave()
      throw error
    }
    const { waitsFor } = assignment
    if (waitsFor !== null && waitsFor !== this.#waitsFor) this.#options.onWaiting?.(waitsFor)
    this.#waitsFor = waitsFor
  }

  #partition(partition: TopicPartition): FetchedPartition {
    const found = this.#partitions.get(nameOf(partition))
    if (found === undefined) throw notAssigned(partition, this.#options.groupId)
    return found
  }

  #assertOpen(): void {
    if (this.#isClosed || this.#client.isClosing) {
      throw new LogError(
        'CLOSED',
        `The consumer of group ${this.#options.groupId} was closed: make a new one`,
      )
    }
  }
}
