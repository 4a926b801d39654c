import { NO_SHARE } from '../assignor.ts'
import { LogError } from '../errors.ts'
import type {
  GroupDescription,
  GroupMember,
  LogAdmin,
  OffsetAndMetadata,
  PartitionOffsets,
  TopicConfig,
  TopicDescription,
  TopicPartition,
} from '../port.ts'
import { type Client, MAIN_LANE } from './client.ts'
import type { Coordinators } from './coordinators.ts'
import { assertAccepted, finalError, KAFKA, kafkaError, nameOf, UnknownTopic } from './errors.ts'
import { fetchOffsets } from './hardening/stale-offsets.ts'
import { createTopicsRequest, deleteTopicsRequest } from './kafkajs-requests.ts'
import { describeConfigsRequest } from './requests/configs.ts'
import { deleteRecordsRequest, EARLIEST, LATEST, listOffsetsRequest } from './requests/offsets.ts'
import type { KafkaRequest, PartitionError } from './requests/request.ts'
import { describeGroupRequest, type DescribedGroup } from './requests/describe-groups.ts'
import { cleanupOf, configsOf } from './topic-configs.ts'
import { decodeAssignment, decodeClaim } from './assigner.ts'

export class KafkaAdmin implements LogAdmin {
  readonly #client: Client
  readonly #coordinators: Coordinators
  readonly #maxRecordBytes: number

  constructor(client: Client, coordinators: Coordinators, options: { maxRecordBytes: number }) {
    this.#client = client
    this.#coordinators = coordinators
    this.#maxRecordBytes = options.maxRecordBytes
  }

  async clusterId(): Promise<string> {
    this.#assertOpen()
    return this.#client.clusterId
  }

  async createTopics(topics: readonly ({ name: string } & TopicConfig)[]): Promise<void> {
    if (topics.length === 0) return
    const request = createTopicsRequest(
      topics.map((topic) => ({
        name: topic.name,
        partitions: topic.partitions,
        replicationFactor: topic.replicationFactor ?? -1,
        configs: configsOf(topic, this.#maxRecordBytes),
      })),
      this.#client.options.requestTimeoutMs,
    )
    await this.#client.retrying('Creating topics', async () => {
      for (const { topic, errorCode, errorMessage } of await this.#sendToController(request)) {
        const said = errorMessage === null ? '' : ` (${errorMessage})`
        if (errorCode !== KAFKA.topicAlreadyExists) {
          assertAccepted(errorCode, `Creating topic ${topic}${said}`)
        }
        this.#client.created(topic)
      }
    })
    const names = topics.map(({ name }) => name)
    // The controller has them; the brokers hear of them a little later.
    await this.#client.retrying('Waiting for the leaders of new topics', async () => {
      const { topics: found } = await this.#client.metadata(names)
      for (const name of names) {
        const topic = found.find((candidate) => candidate.name === name)
        // One that a broker has not heard of is waited for as long as a leader is: it was made just now.
        const isLed = topic?.errorCode === 0 && topic.partitions.every(({ leader }) => leader >= 0)
        assertAccepted(isLed ? 0 : KAFKA.leaderNotAvailable, `Topic ${name}`)
      }
    })
  }

  async describeTopics(names: readonly string[]): Promise<(TopicDescription | null)[]> {
    if (names.length === 0) return []
    return this.#client.retrying('Describing topics', async () => {
      const { topics } = await this.#client.metadata(names)
      for (const { name, errorCode } of topics) {
        // One that may not be seen is not one that is not there.
        if (errorCode !== KAFKA.unknownTopicOrPartition) assertAccepted(errorCode, `Describing topic ${name}`)
      }
      const known = new Map(topics.filter(isKnown).map((topic) => [topic.name, topic]))
      const unheard = names.find((name) => !known.has(name) && this.#client.wasJustCreated(name))
      if (unheard !== undefined) throw new UnknownTopic(`Topic ${unheard}`, true)
      if (known.size === 0) return names.map(() => null)
      const settings = ['cleanup.policy', 'retention.ms', 'max.message.bytes']
      const request = describeConfigsRequest(
        [...known.keys()].map((name) => ({ type: 'topic', name, names: settings })),
      )
      const configs = new Map<string, ReadonlyMap<string, string>>()
      for (const described of await this.#client.sendToAny(request)) {
        // Deleted meanwhile, or made just now and another broker answers: asked anew, the metadata tell which.
        if (described.errorCode === KAFKA.unknownTopicOrPartition)
          throw new UnknownTopic(`Topic ${described.name}`, true)
        assertAccepted(described.errorCode, `Describing topic ${described.name}`)
        configs.set(described.name, new Map(described.entries.map(({ name, value }) => [name, value ?? ''])))
      }
      return names.map((name): TopicDescription | null => {
        const topic = known.get(name)
        if (topic === undefined) return null
        return {
          name,
          topicId: topic.topicId!,
          partitions: topic.partitions.length,
          cleanup: cleanupOf(configs.get(name)!.get('cleanup.policy')!),
          retentionMs: Number(configs.get(name)!.get('retention.ms')),
          maxBatchBytes: Number(configs.get(name)!.get('max.message.bytes')),
        }
      })
    })
  }

  async listTopics(): Promise<string[]> {
    const { topics } = await this.#client.retrying('Listing topics', () => this.#client.metadata(null))
    return topics
      .filter((topic) => isKnown(topic) && !topic.isInternal)
      .map(({ name }) => name)
      .sort()
  }

  async deleteTopic(name: string): Promise<void> {
    const request = deleteTopicsRequest([name], this.#client.options.requestTimeoutMs)
    const subject = `Deleting topic ${name}`
    let wasSent = false
    await this.#client.retrying(subject, async () => {
      const isAgain = wasSent
      wasSent = true
      const [answer] = await this.#sendToController(request)
      if (answer!.errorCode === KAFKA.unknownTopicOrPartition) {
        // Its answer got lost, but not the request.
        if (isAgain) return
        if (this.#client.wasJustCreated(name)) throw new UnknownTopic(`Topic ${name}`, true)
        throw finalError(answer!.errorCode, subject)
      }
      assertAccepted(answer!.errorCode, subject)
    })
    this.#client.deleted(name)
    await this.#client.retrying(`Waiting for topic ${name} to be gone`, async () => {
      const { topics } = await this.#client.metadata([name])
      if (topics.some(isKnown)) throw kafkaError(KAFKA.leaderNotAvailable, `Topic ${name} is still there`)
    })
  }

  async offsets(partitions: readonly TopicPartition[]): Promise<PartitionOffsets[]> {
    // The end last: what is added meanwhile makes it larger than the stable offset, never smaller.
    const start = await this.#list(partitions, EARLIEST, 'read_uncommitted')
    const stable = await this.#list(partitions, LATEST, 'read_committed')
    const end = await this.#list(partitions, LATEST, 'read_uncommitted')
    return partitions.map((partition) => {
      const name = nameOf(partition)
      return { start: start.get(name)!.offset, stable: stable.get(name)!.offset, end: end.get(name)!.offset }
    })
  }

  async deleteRecords(before: readonly (TopicPartition & { offset: number })[]): Promise<void> {
    const timeoutMs = this.#client.options.requestTimeoutMs
    await this.#atLeaders('Deleting records', before, (some) => deleteRecordsRequest(some, timeoutMs))
  }

  describeGroups(groupIds: readonly string[]): Promise<GroupDescription[]> {
    return Promise.all(
      groupIds.map((groupId) => {
        const subject = `Describing group ${groupId}`
        return this.#client.retrying(subject, async () => {
          const request = describeGroupRequest(groupId)
          const found = await this.#coordinators.send('group', groupId, request, (answer) => answer.errorCode)
          assertAccepted(found.errorCode, subject)
          return { groupId, state: stateOf(found), members: found.members.map(memberOf) }
        })
      }),
    )
  }

  async groupOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
  ): Promise<(OffsetAndMetadata | null)[]> {
    this.#assertOpen()
    return fetchOffsets(this.#client, this.#coordinators, groupId, partitions, false)
  }

  async #list(
    partitions: readonly TopicPartition[],
    at: number,
    isolation: 'read_committed' | 'read_uncommitted',
  ): Promise<Map<string, PartitionError & { offset: number }>> {
    return this.#atLeaders('Looking for offsets', partitions, (some) =>
      listOffsetsRequest({ partitions: some.map((partition) => ({ ...partition, at })), isolation }),
    )
  }

  /** One request to each leader; what a leader cannot answer now is asked again. */
  async #atLeaders<Asked extends TopicPartition, Result extends PartitionError>(
    what: string,
    partitions: readonly Asked[],
    request: (some: readonly Asked[]) => KafkaRequest<Result[]>,
  ): Promise<Map<string, Result>> {
    const answered = new Map<string, Result>()
    await this.#client.retrying(what, async () => {
      const open = [...new Map(partitions.map((p) => [nameOf(p), p])).values()].filter(
        (partition) => !answered.has(nameOf(partition)),
      )
      if (open.length === 0) return
      const leaders = await this.#client.leaders(open)
      const byNode = Map.groupBy(open, (_, i) => leaders[i]!.nodeId)
      try {
        await Promise.all(
          [...byNode].map(async ([nodeId, some]) => {
            const results = await this.#client.send(nodeId, MAIN_LANE, request(some))
            for (const result of results) {
              if (result.errorCode === 0) answered.set(nameOf(result), result)
            }
            for (const result of results) assertAccepted(result.errorCode, `${what}: ${nameOf(result)}`)
          }),
        )
      } catch (error) {
        for (const { topic } of open) this.#client.forget(topic)
        throw error
      }
    })
    return answered
  }

  async #sendToController<Result>(request: KafkaRequest<Result>): Promise<Result> {
    // Which broker that is may have changed.
    await this.#client.metadata([])
    return this.#client.send(
      this.#client.controllerId,
      MAIN_LANE,
      request,
      this.#client.options.requestTimeoutMs,
    )
  }

  #assertOpen(): void {
    if (this.#client.isClosing) throw new LogError('CLOSED', 'The log was closed: open it again')
  }
}

function stateOf({ state }: DescribedGroup): GroupDescription['state'] {
  if (state === 'Stable') return 'stable'
  return state === 'Empty' || state === 'Dead' ? 'empty' : 'rebalancing'
}

function memberOf(member: DescribedGroup['members'][number]): GroupMember {
  const { memberId, clientId, host, metadata, assignment } = member
  const cohort = metadata.length === 0 ? '' : decodeClaim(metadata).cohort
  const share = assignment.length === 0 ? NO_SHARE : decodeAssignment(assignment)
  return { memberId, clientId, host: host.replace(/^\//, ''), cohort, ...share }
}

function isKnown(topic: { readonly errorCode: number; readonly topicId: string | null }): boolean {
  return topic.errorCode === 0 && topic.topicId !== null
}
