import { LogError } from '../errors.ts'

/** The versions that a broker speaks, by API key. */
export type ApiVersions = ReadonlyMap<number, { readonly min: number; readonly max: number }>

/** The oldest Kafka that has everything below. */
const MINIMUM_KAFKA = '3.0'

/** What is sent, in the one version in which it is sent. */
const NEEDED: readonly (readonly [key: number, name: string, version: number])[] = [
  [0, 'Produce', 8],
  [1, 'Fetch', 11],
  [2, 'ListOffsets', 5],
  [3, 'Metadata', 10],
  [8, 'OffsetCommit', 5],
  [9, 'OffsetFetch', 7],
  [10, 'FindCoordinator', 2],
  [11, 'JoinGroup', 5],
  [12, 'Heartbeat', 3],
  [13, 'LeaveGroup', 3],
  [14, 'SyncGroup', 3],
  [15, 'DescribeGroups', 5],
  [19, 'CreateTopics', 3],
  [20, 'DeleteTopics', 1],
  [21, 'DeleteRecords', 1],
  [22, 'InitProducerId', 4],
  [24, 'AddPartitionsToTxn', 2],
  [25, 'AddOffsetsToTxn', 2],
  [26, 'EndTxn', 2],
  [28, 'TxnOffsetCommit', 3],
  [32, 'DescribeConfigs', 1],
  [65, 'DescribeTransactions', 0],
]

/** @throws LogError UNSUPPORTED_VERSION */
export function assertSpeaks(versions: ApiVersions, address: string): void {
  for (const [key, name, version] of NEEDED) {
    const range = versions.get(key)
    if (range !== undefined && range.min <= version && version <= range.max) continue
    const has = range === undefined ? 'does not have it' : `has ${range.min} to ${range.max}`
    const isTooNew = range !== undefined && range.min > version
    throw new LogError(
      'UNSUPPORTED_VERSION',
      `Kafka at ${address} is too ${isTooNew ? 'new' : 'old'}: ${name} is needed in version ${version}, and it ${has}. ` +
        (isTooNew ? 'Use a newer Millrace' : `Upgrade it to ${MINIMUM_KAFKA} at least`),
    )
  }
}
