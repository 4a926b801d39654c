/**
 * Fault: a fetch beyond either end of the log makes KafkaJS's consumer take the earliest or latest offset instead,
 * and commit it, outside of any transaction: what lies between is skipped or read twice, without a word.
 * Where: kafkajs/src/consumer/consumerGroup.js (`recoverFromOffsetOutOfRange`), offsetManager (`setDefaultOffset`).
 * Mended here: it is an error that names the position and the log's ends; the position stays until somebody seeks.
 */
import { LogError } from '../../errors.ts'
import { nameOf } from '../errors.ts'
import type { FetchedPartition } from '../requests/fetch.ts'

export function outOfRange(fetched: FetchedPartition, position: number): LogError {
  const { logStartOffset, lastStableOffset } = fetched
  // Brokers do not always say where the log begins and ends when they refuse a fetch.
  const range =
    logStartOffset < 0
      ? ''
      : ` (it begins at ${logStartOffset}, its last stable offset is ${lastStableOffset})`
  return new LogError(
    'OFFSET_OUT_OF_RANGE',
    `Offset ${position} of ${nameOf(fetched)} is not in the log${range}: choose where to go on; nothing is reset silently`,
  )
}
