import { LogError } from '../errors.ts'
import type { OffsetAndMetadata, TopicPartition } from '../port.ts'
import type { Change } from './storage.ts'

/** Kafka's limit (offset.metadata.max.bytes). */
const MAX_METADATA_BYTES = 4096

/** A group's committed offsets, and those that transactions hold open. */
export class GroupOffsets {
  readonly #groupId: string
  readonly #committed = new Map<string, OffsetAndMetadata>()
  readonly #held = new Map<object, readonly OffsetAndMetadata[]>()
  #waiting: (() => void)[] = []

  constructor(groupId: string) {
    this.#groupId = groupId
  }

  get(partition: TopicPartition): OffsetAndMetadata | null {
    return this.#committed.get(keyOf(partition)) ?? null
  }

  restore(offset: OffsetAndMetadata): void {
    this.#committed.set(keyOf(offset), offset)
  }

  /** `owner` will decide about these. */
  hold(owner: object, offsets: readonly OffsetAndMetadata[]): void {
    this.#held.set(owner, [...(this.#held.get(owner) ?? []), ...offsets])
  }

  /** What `owner` holds, as it is to be written. */
  changes(owner: object): Change[] {
    return (this.#held.get(owner) ?? []).map((offset) => ({
      entry: offsetEntry(this.#groupId, offset),
      value: JSON.stringify([offset.offset, offset.metadata]),
    }))
  }

  release(owner: object, committed: boolean): void {
    const offsets = this.#held.get(owner)
    if (offsets === undefined) return
    this.#held.delete(owner)
    if (committed) for (const offset of offsets) this.#committed.set(keyOf(offset), offset)
    this.wake()
  }

  /** True while a transaction has not decided about an offset of one of the partitions. */
  isHeld(partitions: readonly TopicPartition[]): boolean {
    if (this.#held.size === 0) return false
    const asked = new Set(partitions.map(keyOf))
    for (const offsets of this.#held.values()) {
      if (offsets.some((offset) => asked.has(keyOf(offset)))) return true
    }
    return false
  }

  /** Resolves at the next `release` or `wake`. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** What is to be written when a topic is deleted. */
  dropChanges(topic: string): Change[] {
    return this.#of(topic).map((offset) => ({ entry: offsetEntry(this.#groupId, offset), value: null }))
  }

  forget(topic: string): void {
    for (const offset of this.#of(topic)) this.#committed.delete(keyOf(offset))
  }

  #of(topic: string): OffsetAndMetadata[] {
    return [...this.#committed.values()].filter((offset) => offset.topic === topic)
  }
}

/** @throws LogError INVALID_STATE */
export function assertOffsets(offsets: readonly OffsetAndMetadata[]): void {
  for (const { topic, partition, offset, metadata } of offsets) {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new LogError('INVALID_STATE', `${offset} is not an offset of ${topic}-${partition}`)
    }
    const bytes = Buffer.byteLength(metadata)
    if (bytes <= MAX_METADATA_BYTES) continue
    throw new LogError(
      'INVALID_STATE',
      `The metadata of offset ${offset} of ${topic}-${partition} has ${bytes} bytes: ${MAX_METADATA_BYTES} are allowed`,
    )
  }
}

const OFFSET = 'offset'

/** The offset that a stored entry holds, and its group; null where it is no offset. */
export function parseOffsetEntry(
  key: string,
  value: string,
): { groupId: string; offset: OffsetAndMetadata } | null {
  const [kind, groupId, topic, partition] = key.split('\0')
  if (kind !== OFFSET) return null
  const [offset, metadata] = JSON.parse(value) as [number, string]
  return { groupId: groupId!, offset: { topic: topic!, partition: Number(partition), offset, metadata } }
}

function offsetEntry(groupId: string, { topic, partition }: TopicPartition): string {
  return `${OFFSET}\0${groupId}\0${topic}\0${partition}`
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}\0${partition}`
}
