/** KafkaJS's own modules, as far as tests use them: the oracle of codecs, and where its faults are shown. */
import { createRequire } from 'node:module'
import type { KafkaRequest } from '../../../../log/kafkajs/requests/request.ts'

export interface KafkaJsEncoder {
  readonly buffer: Buffer
  writeEncoderArray(encoders: readonly KafkaJsEncoder[]): KafkaJsEncoder
}

export interface KafkaJsMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer>
  readonly batchContext: {
    readonly producerId: string
    readonly producerEpoch: number
    readonly firstSequence: number
    readonly inTransaction: boolean
    readonly isControlBatch: boolean
  }
}

interface KafkaJsRecord {
  readonly offsetDelta: number
  readonly timestampDelta?: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Uint8Array>
}

interface FetchedByKafkaJs {
  readonly partition: number
  readonly highWatermark: string
  readonly messages: readonly KafkaJsMessage[]
  readonly abortedTransactions: readonly { readonly producerId: string; readonly firstOffset: string }[]
}

interface KafkaJsBatch {
  readonly messages: readonly KafkaJsMessage[]
  isEmpty(): boolean
  isEmptyDueToFiltering(): boolean
  isEmptyDueToLogCompactedMessages(): boolean
  isEmptyControlRecord(): boolean
}

interface Modules {
  'consumer/batch': new (topic: string, fetchedOffset: string, fetched: FetchedByKafkaJs) => KafkaJsBatch
  'producer/groupMessagesPerPartition': (options: {
    topic: string
    partitionMetadata: readonly unknown[]
    messages: readonly object[]
    partitioner: () => number
  }) => Record<number, object[]>
  'protocol/decoder': new (buffer: Buffer) => object
  'protocol/encoder': new () => KafkaJsEncoder
  'protocol/recordBatch/crc32C': (bytes: Uint8Array) => number
  'protocol/recordBatch/record/v0': (record: KafkaJsRecord) => KafkaJsEncoder
  'protocol/recordBatch/v0': {
    RecordBatch(options: {
      firstTimestamp: number
      maxTimestamp?: number
      lastOffsetDelta: number
      producerId?: number
      producerEpoch?: number
      firstSequence?: number
      partitionLeaderEpoch?: number
      records: readonly KafkaJsEncoder[]
    }): Promise<KafkaJsEncoder>
  }
  'protocol/request': (options: {
    request: KafkaRequest<unknown>['request']
    correlationId: number
    clientId: string
  }) => Promise<KafkaJsEncoder>
  'protocol/requests': {
    readonly requests: {
      readonly GroupCoordinator: KafkaJsProtocol<{ groupId: string; coordinatorType: number }, unknown>
      readonly JoinGroup: KafkaJsProtocol<object, { generationId: number; memberId: string }>
      readonly SyncGroup: KafkaJsProtocol<object, unknown>
    }
  }
  'protocol/requests/fetch/v4/decodeMessages': (decoder: object) => Promise<KafkaJsMessage[]>
  'protocol/requests/produce/v7/request': (options: {
    acks: number
    timeout: number
    transactionalId: string
    topicData: readonly {
      topic: string
      partitions: readonly { partition: number; firstSequence: number; messages: readonly object[] }[]
    }[]
  }) => { encode(): Promise<KafkaJsEncoder> }
}

/** As ours, but for the promises. */
export interface KafkaJsRequest<Result> {
  readonly request: KafkaRequest<unknown>['request']
  readonly response: {
    decode(payload: Buffer): Promise<unknown>
    parse(decoded: unknown): Promise<Result>
  }
}

interface KafkaJsProtocol<Options, Result> {
  protocol(options: { version: number }): (options: Options) => KafkaJsRequest<Result>
}

const load = createRequire(import.meta.url)

export function kafkajs<Path extends keyof Modules>(path: Path): Modules[Path] {
  return load(`kafkajs/src/${path}`) as Modules[Path]
}
