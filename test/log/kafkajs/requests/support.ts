import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { metadataRequest } from '../../../../log/kafkajs/requests/metadata.ts'
import { LATEST, listOffsetsRequest } from '../../../../log/kafkajs/requests/offsets.ts'
import type { KafkaRequest, PartitionError } from '../../../../log/kafkajs/requests/request.ts'
import { kafkajs, type KafkaJsRequest } from '../record-batch/kafkajs.ts'

/** Of a broker that is slow. */
const TRIES = 2_000

const createRequest = kafkajs('protocol/request')

/** One connection to a broker, one request at a time, framed by KafkaJS. */
export class RawConnection {
  readonly #socket: Socket
  readonly #chunks: AsyncIterator<Buffer, undefined>
  #buffered = Buffer.alloc(0)
  #correlationId = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
  }

  static async open(brokers: string): Promise<RawConnection> {
    const [host, port] = brokers.split(',')[0]!.split(':') as [string, string]
    const socket = connect({ host, port: Number(port) })
    await once(socket, 'connect')
    return new RawConnection(socket)
  }

  async send<Result>({ request, response }: KafkaRequest<Result>): Promise<Result> {
    return response.parse(response.decode(await this.#exchange(request)))
  }

  /** One of KafkaJS's own; errors are thrown. */
  async sendKafkaJs<Result>({ request, response }: KafkaJsRequest<Result>): Promise<Result> {
    return response.parse(await response.decode(await this.#exchange(request)))
  }

  async #exchange(request: KafkaRequest<unknown>['request']): Promise<Buffer> {
    const correlationId = this.#correlationId++
    const frame = await createRequest({ request, correlationId, clientId: 'test' })
    this.#socket.write(frame.buffer)
    const payload = await this.#read((await this.#read(4)).readInt32BE())
    if (payload.readInt32BE() !== correlationId) throw new Error('another request was answered')
    return payload.subarray(4)
  }

  /** Again and again while Kafka says that something is not there yet (14, 15, 16, 51). */
  async settle<Result>(request: KafkaRequest<Result>, errorOf: (result: Result) => number): Promise<Result> {
    for (let tries = 0; ; tries++) {
      const result = await this.send(request)
      if (![14, 15, 16, 51].includes(errorOf(result)) || tries === TRIES) return result
      await sleep(25)
    }
  }

  /** Until there is a coordinator; with one broker it is always this one. */
  async coordinator(type: 'group' | 'transaction'): Promise<void> {
    const { requests } = kafkajs('protocol/requests')
    const coordinatorType = type === 'group' ? 0 : 1
    const find = requests.GroupCoordinator.protocol({ version: 1 })({ groupId: 'any', coordinatorType })
    for (let tries = 0; ; tries++) {
      try {
        await this.sendKafkaJs(find)
        return
      } catch (error) {
        if (tries === TRIES) throw error
        await sleep(50)
      }
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  async #read(bytes: number): Promise<Buffer> {
    while (this.#buffered.length < bytes) {
      const { value } = await this.#chunks.next()
      if (value === undefined) throw new Error('the broker closed the connection')
      this.#buffered = Buffer.concat([this.#buffered, value])
    }
    const taken = this.#buffered.subarray(0, bytes)
    this.#buffered = this.#buffered.subarray(bytes)
    return taken
  }
}

/** A name that no other test has. */
export function fresh(name: string): string {
  return `${name}-${randomBytes(6).toString('hex')}`
}

export async function makeTopic(
  brokers: string,
  partitions: number,
  config: Record<string, string> = {},
): Promise<string> {
  const topic = fresh('requests')
  const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    // KafkaJS waits for the leaders, and gives up when the broker has not heard of the topic yet.
    await admin.createTopics({
      topics: [{ topic, numPartitions: partitions, configEntries }],
      waitForLeaders: false,
    })
  } finally {
    await admin.disconnect()
  }
  const connection = await RawConnection.open(brokers)
  try {
    await connection.settle(metadataRequest([topic]), ({ topics: [found] }) => {
      const isLed =
        found!.partitions.length === partitions && found!.partitions.every(({ leader }) => leader >= 0)
      return found!.errorCode === 0 && isLed ? 0 : 15
    })
    // The leader hears of it later than the metadata do.
    const ends = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, at: LATEST }))
    await connection.settle(
      listOffsetsRequest({ partitions: ends, isolation: 'read_uncommitted' }),
      (results) => (results.some(({ errorCode }) => errorCode !== 0) ? 15 : 0),
    )
  } finally {
    connection.close()
  }
  return topic
}

/** Error codes by partition, as `topic-partition`. */
export function errorsOf(results: readonly PartitionError[]): Record<string, number> {
  return Object.fromEntries(
    results.map(({ topic, partition, errorCode }) => [`${topic}-${partition}`, errorCode]),
  )
}
