import { WireReader, WireWriter } from './wire.ts'

/**
 * What KafkaJS's `Connection.send` takes. KafkaJS has no public way to send a request that it does not
 * know, but a request is a plain object, so versions beyond its own need no change in it.
 */
export interface KafkaRequest<Result> {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    readonly encode: () => EncodedRequest
  }
  readonly response: {
    decode(payload: Buffer): Decoded<Result>
    parse(decoded: Decoded<Result>): Result
  }
}

/** `buf` and `buffer` are what KafkaJS's Encoder looks for in another encoder. */
export interface EncodedRequest {
  readonly buf: Buffer
  readonly buffer: Buffer
  /** The same, not copied together. */
  readonly parts?: readonly Uint8Array[]
}

export interface Decoded<Result> {
  /** KafkaJS holds back the connection's next request for as long (KIP-219). */
  readonly clientSideThrottleTime: number
  readonly result: Result
}

interface Api {
  readonly key: number
  readonly version: number
  readonly name: string
  /** Flexible versions have tag buffers, the first of which ends the header. */
  readonly flexible: boolean
}

/**
 * A request whose answer is read in full: an error code is data, one a partition where Kafka gives one a
 * partition (KafkaJS throws the first that it meets and drops what the others say).
 */
export function kafkaRequest<Result>(
  api: Api,
  write: (writer: WireWriter) => void,
  read: (reader: WireReader) => { throttleMs: number; result: Result },
  initialBytes = 512,
): KafkaRequest<Result> {
  return {
    request: {
      apiKey: api.key,
      apiVersion: api.version,
      apiName: api.name,
      encode: () => {
        const writer = new WireWriter(initialBytes)
        if (api.flexible) writer.noTags()
        write(writer)
        return writer
      },
    },
    response: {
      decode: (payload) => {
        const reader = new WireReader(payload, api.name)
        if (api.flexible) reader.skipTags()
        const { throttleMs, result } = read(reader)
        return { clientSideThrottleTime: throttleMs, result }
      },
      parse: (decoded) => decoded.result,
    },
  }
}

/** Kafka's error code of one partition; 0: none. */
export interface PartitionError {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
}
