import type { RecordBatch } from '../batch.ts'
import { LogError } from '../errors.ts'
import type { PartitionReader, TopicPartition } from '../port.ts'
import type { Client } from './client.ts'
import { assertAccepted, ConnectionLost } from './errors.ts'
import { FetchedPartition } from './fetched-partition.ts'
import { MemoryLease } from './memory-lease.ts'
import { fetchRequest } from './requests/fetch.ts'

const LANE = 'read'

/** Fetches when it has nothing left, and again while the caller works on what it got. */
export class KafkaPartitionReader implements PartitionReader {
  readonly #client: Client
  readonly #fetchBytes: number
  readonly #partition: FetchedPartition
  #position: number
  #ahead: Promise<void> | null = null
  #isClosed = false

  constructor(client: Client, partition: TopicPartition, from: number, fetchBytes: number) {
    this.#client = client
    this.#fetchBytes = fetchBytes
    this.#partition = new FetchedPartition(partition)
    this.#partition.seek(from)
    this.#position = from
  }

  get position(): number {
    return this.#position
  }

  async read(maxBytes: number): Promise<RecordBatch | null> {
    if (this.#isClosed) {
      throw new LogError('CLOSED', `The reader of ${this.#partition.name} was closed: make a new one`)
    }
    if (!this.#partition.isReady) await this.#ahead
    // What was fetched ahead may be from before the caller's own last append.
    // A whole fetch may hold nothing for readers (marks, aborted records): what lies behind is not there "none yet".
    let before: number | null = null
    while (!this.#partition.isReady && this.#partition.fetchOffset !== before) {
      before = this.#partition.fetchOffset
      await this.#fetch()
    }
    const batch = this.#take(maxBytes)
    // What is empty for readers (marks, aborted records) is passed over as well.
    const fetchOffset = this.#partition.fetchOffset
    if (batch !== null) this.#position = batch.nextOffset
    else if (fetchOffset !== null) this.#position = Math.max(this.#position, fetchOffset)
    if (batch !== null && !this.#partition.isReady) this.#fetchAhead()
    return batch
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  #take(maxBytes: number): RecordBatch | null {
    try {
      return this.#partition.take(maxBytes)
    } catch (error) {
      // The position stays, and so does the error until somebody makes a reader elsewhere.
      this.#partition.seek(this.#position)
      throw error
    }
  }

  #fetchAhead(): void {
    const ahead = this.#fetch().catch((error: unknown) => {
      this.#partition.fail(error as Error)
    })
    this.#ahead = ahead
    void ahead.then(() => {
      if (this.#ahead === ahead) this.#ahead = null
    })
  }

  async #fetch(): Promise<void> {
    const partition = this.#partition
    await this.#client.retrying(`Reading ${partition.name}`, async () => {
      const [leader] = await this.#client.leaders([partition])
      if (!partition.isOfTopic(this.#client.topicIdIfKnown(partition.topic)!)) return
      const { topic, partition: number, fetchOffset } = partition
      const request = fetchRequest({
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: this.#fetchBytes,
        partitions: [
          {
            topic,
            partition: number,
            fetchOffset: fetchOffset!,
            maxBytes: this.#fetchBytes,
            leaderEpoch: leader!.epoch,
          },
        ],
      })
      try {
        const { errorCode, partitions } = await this.#client.send(leader!.nodeId, LANE, request)
        assertAccepted(errorCode, `Reading ${partition.name}`)
        const [answer] = partitions
        const lease = MemoryLease.of(answer!.records)
        lease?.retain()
        const passing = partition.accept(answer!, lease)
        // What was compressed lies elsewhere now.
        lease?.release()
        if (passing !== null) throw passing
      } catch (error) {
        this.#client.forget(topic)
        throw error instanceof ConnectionLost
          ? new ConnectionLost('its leader', `Reading ${partition.name}`, error)
          : error
      }
    })
  }
}
