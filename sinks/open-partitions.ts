import type { Log, OffsetAndMetadata, TopicPartition } from '../log/port.ts'
import { decodeCommitNote, encodeCommitNote, startOf, type Start } from './committed.ts'
import type { Sink } from './port.ts'

export interface OpenedPartition extends Start {
  readonly topic: string
  readonly partition: number
  readonly incarnation: string
  /** The sink's, to be committed with the next position. */
  readonly note: string | null
}

/** A partition's position, as it is committed. */
export type Standing = Omit<OpenedPartition, 'rewritesBelow'>

export interface OpenOptions {
  readonly log: Log
  readonly sink: Sink
  readonly topic: string
  readonly partitions: readonly TopicPartition[]
  /** By the group, in the partitions' order. */
  readonly committed: readonly (OffsetAndMetadata | null)[]
}

/**
 * Asks the log and the destination where partitions stand.
 * @returns them in order, and those whose note the sink has changed, to be committed before the first write
 * @throws SinkError POSITION_MISMATCH, ROWS_GONE, or what `recover` throws
 */
export async function openPartitions(options: OpenOptions): Promise<{
  readonly opened: OpenedPartition[]
  readonly renoted: readonly OpenedPartition[]
}> {
  const { log, sink, topic, partitions, committed } = options
  if (partitions.length === 0) return { opened: [], renoted: [] }
  const [clusterId, [description], offsets] = await Promise.all([
    log.admin.clusterId(),
    log.admin.describeTopics([topic]),
    log.admin.offsets(partitions),
  ])
  const incarnation = `${clusterId}/${description?.topicId ?? ''}`
  const assignments = partitions.map(({ partition }, i) => {
    const metadata = committed[i]?.metadata
    const note = metadata === undefined ? null : (decodeCommitNote(metadata)?.note ?? null)
    return { topic, partition, incarnation, note }
  })
  const recovered = await sink.recover(assignments)
  const opened = assignments.map((assignment, i) => {
    const start = startOf({
      ...assignment,
      destination: sink.destination,
      keepsPositions: sink.keepsPositions,
      offsets: offsets[i]!,
      committed: committed[i]!,
      recovered: recovered[i]!.position,
    })
    return { ...assignment, ...start, note: recovered[i]!.note }
  })
  return { opened, renoted: opened.filter(({ note }, i) => note !== assignments[i]!.note) }
}

export function commitOf({ topic, partition, next, base, incarnation, note }: Standing): OffsetAndMetadata {
  return { topic, partition, offset: next, metadata: encodeCommitNote({ held: base, incarnation, note }) }
}
