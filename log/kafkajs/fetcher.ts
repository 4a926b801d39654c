import type { RecordBatch } from '../batch.ts'
import type { Client } from './client.ts'
import { isPassing } from './errors.ts'
import type { FetchedPartition } from './fetched-partition.ts'
import { MemoryLease } from './memory-lease.ts'
import { fetchRequest, type FetchResult } from './requests/fetch.ts'
import type { Retry } from './retry.ts'

export interface FetchOptions {
  /** How long a broker holds a fetch for which it has nothing. */
  readonly fetchMaxWaitMs: number
  /** Of one partition in one fetch. */
  readonly partitionFetchBytes: number
  /** Of one fetch. */
  readonly fetchBytes: number
  /** Fetched ahead and not handed out, over all partitions; one fetch may go beyond it. */
  readonly maxBufferedBytes: number
}

/** With others waiting for room, nobody is kept from being asked again. */
const HURRIED_WAIT_MS = 5

/**
 * Reads a consumer's partitions ahead, one fetch in flight a broker. What a fetch brings goes to its partition's
 * buffer, unless the partition was sought or given up meanwhile.
 */
export class Fetcher {
  readonly #client: Client
  readonly #lane: string
  readonly #options: FetchOptions
  readonly #onChange: () => void
  readonly #busyNodes = new Set<number>()
  readonly #retry: Retry
  #partitions: readonly FetchedPartition[] = []
  /** Where the next fetch and the next hand-out begin, so that nobody comes first for ever. */
  #firstFetched = 0
  #firstTaken = 0
  #isScheduled = false
  #isLocating = false
  #isClosed = false
  #timer: NodeJS.Timeout | null = null

  /** @param onChange called when there is something to take */
  constructor(client: Client, lane: string, options: FetchOptions, onChange: () => void) {
    this.#client = client
    this.#lane = lane
    this.#options = options
    this.#onChange = onChange
    this.#retry = client.retry('Fetching', Infinity)
  }

  /** Replaces all partitions; nothing of the earlier ones is handed out any more. */
  assign(partitions: readonly FetchedPartition[]): void {
    for (const partition of this.#partitions) partition.turn.next()
    this.#partitions = partitions
    this.#firstFetched = 0
    this.#firstTaken = 0
  }

  /** Something may be fetched that could not before. Gathers what one turn of the event loop changes. */
  wake(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#fetchAll()
    })
  }

  /** About `maxBytes`, in turn over the partitions; one batch at least where there is one. @throws LogError */
  take(maxBytes: number): RecordBatch[] {
    const batches: RecordBatch[] = []
    const partitions = this.#partitions
    let left = maxBytes
    for (let idle = 0; idle < partitions.length && (left > 0 || batches.length === 0);) {
      const partition = partitions[this.#firstTaken % partitions.length]!
      // What went wrong is thrown when nothing is lost by it.
      if (partition.isReady && (batches.length === 0 || partition.bufferedBytes > 0)) {
        const before = partition.bufferedBytes
        const batch = partition.take(left)
        if (batch !== null) batches.push(batch)
        left -= Math.max(1, before - partition.bufferedBytes)
        idle = 0
      } else idle++
      this.#firstTaken = (this.#firstTaken + 1) % partitions.length
    }
    if (batches.length > 0) this.wake()
    return batches
  }

  close(): void {
    this.#isClosed = true
    this.#retry.succeeded()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.assign([])
    this.#client.closeLane(this.#lane)
  }

  #fetchAll(): void {
    if (this.#isClosed || this.#client.isClosing) return
    const buffered = this.#partitions.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0)
    const room = this.#options.maxBufferedBytes - buffered
    if (room <= 0) return
    const requests = this.#wantedByNode()
    for (const [nodeId, { wanted, isAnyFull }] of requests) {
      if (wanted.length > 0 && !this.#busyNodes.has(nodeId)) {
        void this.#fetch(nodeId, wanted, room, isAnyFull ? HURRIED_WAIT_MS : this.#options.fetchMaxWaitMs)
      }
    }
    this.#firstFetched++
  }

  #wantedByNode(): Map<number, { wanted: FetchedPartition[]; isAnyFull: boolean }> {
    const requests = new Map<number, { wanted: FetchedPartition[]; isAnyFull: boolean }>()
    const partitions = this.#partitions
    const nowMs = performance.now()
    let isAnyUnknown = false
    for (let i = 0; i < partitions.length; i++) {
      const partition = partitions[(this.#firstFetched + i) % partitions.length]!
      if (partition.fetchOffset === null || partition.isPaused || partition.isInFlight) continue
      if (partition.notBeforeMs > nowMs) continue
      const leader = this.#client.leaderIfKnown(partition)
      if (leader === null) {
        isAnyUnknown = true
        continue
      }
      if (!partition.isOfTopic(this.#client.topicIdIfKnown(partition.topic)!)) {
        this.#onChange()
        continue
      }
      let request = requests.get(leader.nodeId)
      if (request === undefined) requests.set(leader.nodeId, (request = { wanted: [], isAnyFull: false }))
      if (partition.bufferedBytes < this.#options.partitionFetchBytes / 2) request.wanted.push(partition)
      else request.isAnyFull = true
    }
    if (isAnyUnknown) void this.#locate()
    return requests
  }

  async #fetch(
    nodeId: number,
    wanted: readonly FetchedPartition[],
    room: number,
    maxWaitMs: number,
  ): Promise<void> {
    this.#busyNodes.add(nodeId)
    const isWanted = wanted.map((partition) => partition.turn.ask())
    for (const partition of wanted) partition.isInFlight = true
    const { fetchBytes, partitionFetchBytes } = this.#options
    const request = fetchRequest({
      maxWaitMs,
      minBytes: 1,
      maxBytes: Math.min(room, fetchBytes),
      partitions: wanted.map((partition) => ({
        topic: partition.topic,
        partition: partition.partition,
        fetchOffset: partition.fetchOffset!,
        maxBytes: partitionFetchBytes,
        leaderEpoch: this.#client.leaderIfKnown(partition)?.epoch ?? -1,
      })),
    })
    try {
      const answer = await this.#client.send(nodeId, this.#lane, request, maxWaitMs)
      if (this.#isClosed) return
      this.#accept(wanted, isWanted, answer)
    } catch (error) {
      if (!this.#isClosed)
        this.#failed(
          wanted.filter((_, i) => isWanted[i]!()),
          error,
        )
    } finally {
      for (const partition of wanted) partition.isInFlight = false
      this.#busyNodes.delete(nodeId)
      this.wake()
    }
  }

  #accept(
    wanted: readonly FetchedPartition[],
    isWanted: readonly (() => boolean)[],
    answer: FetchResult,
  ): void {
    const byName = new Map(wanted.map((partition, i) => [`${partition.topic} ${partition.partition}`, i]))
    let passing: Error | null = null
    const failed: FetchedPartition[] = []
    let isAnyReady = false
    // All partitions lie in one response.
    const [first] = answer.partitions
    const lease = first === undefined ? null : MemoryLease.of(first.records)
    lease?.retain()
    for (const fetched of answer.partitions) {
      const index = byName.get(`${fetched.topic} ${fetched.partition}`)
      if (index === undefined || !isWanted[index]!()) continue
      const partition = wanted[index]!
      const error = partition.accept(fetched, lease)
      if (error !== null) {
        passing = error
        failed.push(partition)
      }
      isAnyReady ||= partition.isReady
    }
    // What was compressed lies elsewhere now.
    lease?.release()
    if (passing === null) this.#retry.succeeded()
    else this.#failed(failed, passing)
    if (isAnyReady) this.#onChange()
  }

  /** They are asked for again after a pause, of whoever leads them then. */
  #failed(partitions: readonly FetchedPartition[], error: unknown): void {
    try {
      const pauseMs = this.#retry.nextPauseMs(error)
      const notBeforeMs = performance.now() + pauseMs
      for (const partition of partitions) {
        partition.notBeforeMs = notBeforeMs
        this.#client.forget(partition.topic)
      }
      this.#wakeIn(pauseMs)
    } catch (final) {
      for (const partition of partitions) partition.fail(final as Error)
      this.#onChange()
    }
  }

  #wakeIn(ms: number): void {
    if (this.#timer !== null) return
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        this.wake()
      },
      Math.ceil(ms) + 1,
    )
  }

  async #locate(): Promise<void> {
    if (this.#isLocating) return
    this.#isLocating = true
    const unknown = this.#partitions.filter((partition) => this.#client.leaderIfKnown(partition) === null)
    try {
      await this.#client.leaders(unknown)
      this.wake()
    } catch (error) {
      const isWanted = new Set(this.#partitions)
      if (!this.#isClosed)
        this.#failed(isPassing(error) ? unknown : unknown.filter((p) => isWanted.has(p)), error)
    } finally {
      this.#isLocating = false
    }
  }
}
