/**
 * Requests for which KafkaJS's own encoding serves. Their answers are taken as decoded, before KafkaJS throws the
 * first error code in them as an exception that has lost the others.
 */
import { requests } from 'kafkajs/src/protocol/requests/index.js'
import type { OffsetAndMetadata } from '../port.ts'
import { groupByTopic } from './hardening/quadratic-grouping.ts'
import type { KafkaRequest, PartitionError } from './requests/request.ts'
import type { ApiVersions } from './versions.ts'

function kafkajsRequest<Wire, Result>(
  api: keyof typeof requests,
  version: number,
  options: object[],
  read: (decoded: Wire) => Result,
): KafkaRequest<Result> {
  const { request, response } = requests[api].protocol({ version })(...options)
  const adapted = {
    request,
    response: { decode: response.decode, parse: (decoded: object) => read(decoded as Wire) },
  }
  // KafkaJS awaits encode and decode; ours answer at once.
  return adapted as unknown as KafkaRequest<Result>
}

export function apiVersionsRequest(): KafkaRequest<ApiVersions> {
  type Wire = { apiVersions: { apiKey: number; minVersion: number; maxVersion: number }[] }
  return kafkajsRequest(
    'ApiVersions',
    2,
    [],
    ({ apiVersions }: Wire) =>
      new Map(
        apiVersions.map(({ apiKey, minVersion, maxVersion }) => [
          apiKey,
          { min: minVersion, max: maxVersion },
        ]),
      ),
  )
}

export type CoordinatorKind = 'group' | 'transaction'

export interface FoundCoordinator {
  readonly errorCode: number
  readonly nodeId: number
}

export function findCoordinatorRequest(kind: CoordinatorKind, key: string): KafkaRequest<FoundCoordinator> {
  type Wire = { errorCode: number; coordinator: { nodeId: number } }
  return kafkajsRequest(
    'GroupCoordinator',
    2,
    [{ groupId: key, coordinatorType: kind === 'group' ? 0 : 1 }],
    ({ errorCode, coordinator }: Wire) => ({ errorCode, nodeId: coordinator.nodeId }),
  )
}

export interface JoinedGroup {
  readonly errorCode: number
  readonly generationId: number
  readonly leaderId: string
  readonly memberId: string
  /** Of all members, for the leader; empty for the others. */
  readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[]
}

export function joinGroupRequest(options: {
  readonly groupId: string
  readonly memberId: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocol: string
  readonly metadata: Buffer
}): KafkaRequest<JoinedGroup> {
  const { groupId, memberId, protocol, metadata } = options
  return kafkajsRequest(
    'JoinGroup',
    5,
    [
      {
        groupId,
        memberId,
        sessionTimeout: options.sessionTimeoutMs,
        rebalanceTimeout: options.rebalanceTimeoutMs,
        protocolType: 'consumer',
        groupProtocols: [{ name: protocol, metadata }],
      },
    ],
    (decoded: JoinedGroup) => decoded,
  )
}

export interface SyncedGroup {
  readonly errorCode: number
  readonly memberAssignment: Buffer
}

export function syncGroupRequest(options: {
  readonly groupId: string
  readonly memberId: string
  readonly generation: number
  /** The leader's; empty from the others. */
  readonly assignments: readonly { readonly memberId: string; readonly memberAssignment: Buffer }[]
}): KafkaRequest<SyncedGroup> {
  const { groupId, memberId, generation, assignments } = options
  return kafkajsRequest(
    'SyncGroup',
    3,
    [{ groupId, memberId, generationId: generation, groupAssignment: assignments }],
    (decoded: SyncedGroup) => decoded,
  )
}

/** Gives the error code. */
export function heartbeatRequest(
  groupId: string,
  memberId: string,
  generation: number,
): KafkaRequest<number> {
  return kafkajsRequest(
    'Heartbeat',
    3,
    [{ groupId, memberId, groupGenerationId: generation, groupInstanceId: null }],
    ({ errorCode }: { errorCode: number }) => errorCode,
  )
}

/** Gives the error code. */
export function leaveGroupRequest(groupId: string, memberId: string): KafkaRequest<number> {
  type Wire = { errorCode: number; members: { errorCode: number }[] }
  return kafkajsRequest(
    'LeaveGroup',
    3,
    [{ groupId, memberId }],
    ({ errorCode, members }: Wire) => errorCode || (members[0]?.errorCode ?? 0),
  )
}

type TopicsWire = { responses: { topic: string; partitions: { partition: number; errorCode: number }[] }[] }

export function offsetCommitRequest(
  group: { readonly groupId: string; readonly memberId: string; readonly generation: number },
  offsets: readonly OffsetAndMetadata[],
): KafkaRequest<PartitionError[]> {
  return kafkajsRequest(
    'OffsetCommit',
    5,
    [
      {
        groupId: group.groupId,
        memberId: group.memberId,
        groupGenerationId: group.generation,
        topics: groupByTopic(offsets).map(([topic, partitions]) => ({ topic, partitions })),
      },
    ],
    ({ responses }: TopicsWire) =>
      responses.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, ...partition }))),
  )
}

export interface TopicError {
  readonly topic: string
  readonly errorCode: number
  /** The broker's own words, where it has any. */
  readonly errorMessage: string | null
}

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  /** -1: the brokers' default. */
  readonly replicationFactor: number
  readonly configs: Readonly<Record<string, string>>
}

export function createTopicsRequest(
  topics: readonly NewTopic[],
  timeoutMs: number,
): KafkaRequest<TopicError[]> {
  return kafkajsRequest(
    'CreateTopics',
    3,
    [
      {
        timeout: timeoutMs,
        topics: topics.map(({ name, partitions, replicationFactor, configs }) => ({
          topic: name,
          numPartitions: partitions,
          replicationFactor,
          configEntries: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        })),
      },
    ],
    ({ topicErrors }: { topicErrors: TopicError[] }) => topicErrors,
  )
}

export function deleteTopicsRequest(names: readonly string[], timeoutMs: number): KafkaRequest<TopicError[]> {
  return kafkajsRequest(
    'DeleteTopics',
    1,
    [{ topics: names, timeout: timeoutMs }],
    ({ topicErrors }: { topicErrors: { topic: string; errorCode: number }[] }) =>
      topicErrors.map((error) => ({ ...error, errorMessage: null })),
  )
}
