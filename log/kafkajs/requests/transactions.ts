/**
 * The requests of a transaction, in the order of their use. All but InitProducerId name the producer;
 * a fenced one gets 90 (47 from older brokers).
 */
import { groupByTopic } from '../hardening/quadratic-grouping.ts'
import type { GroupMetadata, OffsetAndMetadata, TopicPartition } from '../../port.ts'
import { kafkaRequest, type KafkaRequest, type PartitionError } from './request.ts'
import type { WireReader, WireWriter } from './wire.ts'

export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: number
}

export interface TransactionIdentity extends ProducerIdentity {
  readonly transactionalId: string
}

export interface InitProducerIdResult extends ProducerIdentity {
  /** 51: an earlier transaction of this id is being ended: ask again. */
  readonly errorCode: number
}

const UNKNOWN_PRODUCER: ProducerIdentity = { producerId: -1, producerEpoch: -1 }
const UNKNOWN_LEADER_EPOCH = -1

/** InitProducerId v4 (Kafka 2.7). `transactionalId` null: an idempotent producer outside of transactions. */
export function initProducerIdRequest(options: {
  readonly transactionalId: string | null
  readonly transactionTimeoutMs: number
  /** Keeps the id and gives the next epoch, if it is the latest still (KIP-360). Default: takes the id over. */
  readonly current?: ProducerIdentity
}): KafkaRequest<InitProducerIdResult> {
  return kafkaRequest(
    { key: 22, version: 4, name: 'InitProducerId', flexible: true },
    (writer) => {
      writer.compactString(options.transactionalId)
      writer.int32(options.transactionTimeoutMs)
      writeProducer(writer, options.current ?? UNKNOWN_PRODUCER)
      writer.noTags()
    },
    (reader) => ({
      throttleMs: reader.int32(),
      result: { errorCode: reader.int16(), producerId: reader.int64(), producerEpoch: reader.int16() },
    }),
  )
}

/** AddPartitionsToTxn v2 (Kafka 2.7). Where one partition is refused, none is added: the others say 55. */
export function addPartitionsToTxnRequest(
  transaction: TransactionIdentity,
  partitions: readonly TopicPartition[],
): KafkaRequest<PartitionError[]> {
  return kafkaRequest(
    { key: 24, version: 2, name: 'AddPartitionsToTxn', flexible: false },
    (writer) => {
      writer.string(transaction.transactionalId)
      writeProducer(writer, transaction)
      writer.array(groupByTopic(partitions), ([topic, ofTopic]) => {
        writer.string(topic)
        writer.array(ofTopic, ({ partition }) => writer.int32(partition))
      })
    },
    (reader) => {
      const throttleMs = reader.int32()
      const results = reader.array(() => {
        const topic = reader.string()
        return reader.array(() => ({ topic, partition: reader.int32(), errorCode: reader.int16() }))
      })
      return { throttleMs, result: results.flat() }
    },
  )
}

/** AddOffsetsToTxn v2 (Kafka 2.7). Gives the error code. */
export function addOffsetsToTxnRequest(
  transaction: TransactionIdentity,
  groupId: string,
): KafkaRequest<number> {
  return kafkaRequest(
    { key: 25, version: 2, name: 'AddOffsetsToTxn', flexible: false },
    (writer) => {
      writer.string(transaction.transactionalId)
      writeProducer(writer, transaction)
      writer.string(groupId)
    },
    readErrorCode,
  )
}

/**
 * TxnOffsetCommit v3 (Kafka 2.5), to the group's coordinator: 22 or 25 where the group has moved on
 * (KIP-447; design §6, commit 3).
 */
export function txnOffsetCommitRequest(
  transaction: TransactionIdentity,
  group: GroupMetadata,
  offsets: readonly OffsetAndMetadata[],
): KafkaRequest<PartitionError[]> {
  return kafkaRequest(
    { key: 28, version: 3, name: 'TxnOffsetCommit', flexible: true },
    (writer) => {
      writer.compactString(transaction.transactionalId)
      writer.compactString(group.groupId)
      writeProducer(writer, transaction)
      writer.int32(group.generation)
      writer.compactString(group.memberId)
      writer.compactString(null)
      writer.compactArray(groupByTopic(offsets), ([topic, ofTopic]) => {
        writer.compactString(topic)
        writer.compactArray(ofTopic, ({ partition, offset, metadata }) => {
          writer.int32(partition)
          writer.int64(offset)
          writer.int32(UNKNOWN_LEADER_EPOCH)
          writer.compactString(metadata)
          writer.noTags()
        })
        writer.noTags()
      })
      writer.noTags()
    },
    (reader) => {
      const throttleMs = reader.int32()
      const results = reader.compactArray(() => {
        const topic = reader.compactString()
        const ofTopic = reader.compactArray(() => {
          const result = { topic, partition: reader.int32(), errorCode: reader.int16() }
          reader.skipTags()
          return result
        })
        reader.skipTags()
        return ofTopic
      })
      return { throttleMs, result: results.flat() }
    },
  )
}

/** EndTxn v2 (Kafka 2.7). Gives the error code; the markers may be written after the answer. */
export function endTxnRequest(transaction: TransactionIdentity, commit: boolean): KafkaRequest<number> {
  return kafkaRequest(
    { key: 26, version: 2, name: 'EndTxn', flexible: false },
    (writer) => {
      writer.string(transaction.transactionalId)
      writeProducer(writer, transaction)
      writer.bool(commit)
    },
    readErrorCode,
  )
}

function writeProducer(writer: WireWriter, producer: ProducerIdentity): void {
  writer.int64(producer.producerId)
  writer.int16(producer.producerEpoch)
}

function readErrorCode(reader: WireReader): { throttleMs: number; result: number } {
  return { throttleMs: reader.int32(), result: reader.int16() }
}
