import { LogError } from '../errors.ts'
import type {
  GroupDescription,
  LogAdmin,
  OffsetAndMetadata,
  PartitionOffsets,
  TopicConfig,
  TopicDescription,
  TopicPartition,
} from '../port.ts'
import type { Cleaner } from './cleaner.ts'
import type { LogCore } from './core.ts'
import type { Groups } from './groups.ts'

export class EmbeddedAdmin implements LogAdmin {
  readonly #core: LogCore
  readonly #groups: Groups
  readonly #cleaner: Cleaner

  constructor(core: LogCore, groups: Groups, cleaner: Cleaner) {
    this.#core = core
    this.#groups = groups
    this.#cleaner = cleaner
  }

  async clusterId(): Promise<string> {
    this.#core.assertOpen()
    return this.#core.clusterId
  }

  async createTopics(topics: readonly ({ name: string } & TopicConfig)[]): Promise<void> {
    await this.#core.createTopics(topics)
  }

  async describeTopics(names: readonly string[]): Promise<(TopicDescription | null)[]> {
    this.#core.assertOpen()
    return names.map((name) => {
      const topic = this.#core.topics.get(name)
      return topic === undefined ? null : { name, topicId: topic.topicId, ...topic.config }
    })
  }

  async listTopics(): Promise<string[]> {
    this.#core.assertOpen()
    return [...this.#core.topics.keys()].sort()
  }

  async deleteTopic(name: string): Promise<void> {
    this.#core.assertOpen()
    const partitions = await this.#core.deleteTopic(name, this.#groups.dropChanges(name), () => {
      this.#groups.forget(name)
    })
    for (const { id } of partitions) this.#cleaner.drop(id)
  }

  async offsets(partitions: readonly TopicPartition[]): Promise<PartitionOffsets[]> {
    return partitions.map((asked) => {
      const partition = this.#core.partition(asked)
      if (partition.stable < partition.end) this.#core.onBlocked()
      const { start, stable, end } = partition
      return { start, stable, end }
    })
  }

  async deleteRecords(before: readonly (TopicPartition & { offset: number })[]): Promise<void> {
    const asked = before.map(({ offset, ...name }) => ({ partition: this.#core.partition(name), offset }))
    for (const { partition, offset } of asked) {
      if (Number.isSafeInteger(offset) && offset >= 0 && offset <= partition.stable) continue
      throw new LogError(
        'OFFSET_OUT_OF_RANGE',
        `Records of ${partition.topic}-${partition.index} cannot be deleted below ${offset}: its last stable offset is ${partition.stable}`,
      )
    }
    await Promise.all(asked.map(({ partition, offset }) => this.#cleaner.raiseStart(partition, offset)))
  }

  async describeGroups(groupIds: readonly string[]): Promise<GroupDescription[]> {
    this.#core.assertOpen()
    return groupIds.map((groupId) => this.#groups.get(groupId).describe())
  }

  async groupOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
  ): Promise<(OffsetAndMetadata | null)[]> {
    this.#core.assertOpen()
    const { offsets } = this.#groups.get(groupId)
    return partitions.map((partition) => offsets.get(partition))
  }
}
