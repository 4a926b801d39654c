import type { TimeSnapshot } from './time.ts'
import type { WindowProgress } from './operators/window.ts'

/** The two constant keys of the `-changelog` topic (design §6). */
export const TASK_RECORD_KEY = Buffer.from('task')
export const OPENED_RECORD_KEY = Buffer.from('opened')

/**
 * The task record: the truth about where a task stands, in every transaction in which it moved.
 * JSON: it is written once a commit, and people read it when things go wrong.
 */
export interface TaskRecord {
  readonly version: 1
  readonly topologyHash: string
  readonly inputs: readonly {
    readonly topic: string
    readonly topicId: string
    /** The next offset to process. */
    readonly offset: number
    readonly time: TimeSnapshot
  }[]
  readonly windows: Readonly<Record<string, WindowProgress>>
  /** First offset in `-windows` of each open segment, by store id. */
  readonly segments: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** What stands in `-windows` up to here is committed; absent in records of before it was noted. */
  readonly windowsEnd?: number
  readonly counters: Readonly<Record<string, number>>
  /** The stall that each node has told of last, by when its source's last word was ingested. Absent: none. */
  readonly stalls?: Readonly<Record<string, number | null>>
}

export function encodeTaskRecord(record: TaskRecord): Buffer {
  return Buffer.from(JSON.stringify(record))
}

/** @throws TaskRecordError when the bytes are none, or of a later version */
export function decodeTaskRecord(bytes: Buffer, task: string): TaskRecord {
  const record = JSON.parse(bytes.toString('utf8')) as TaskRecord
  // Written by a later version: what it means is not known here.
  if ((record.version as number) !== 1) {
    throw new Error(`${task}: its task record has version ${String(record.version)}; this version knows 1`)
  }
  return record
}

/** Where a task stood when its record was written, in the record's own words. */
export interface Standing {
  readonly topologyHash: string
  /** The next offset of its input. */
  readonly position: number | null
  /** Of its input, epoch ms; null: not known yet. */
  readonly watermarkMs: number | null
}

/** For display. @throws TaskRecordError as {@link decodeTaskRecord} */
export function standingOf(taskRecord: Buffer, task: string): Standing {
  const { topologyHash, inputs } = decodeTaskRecord(taskRecord, task)
  const times = inputs.map(({ time }) =>
    time.kind === 'source'
      ? time.watermark
      : time.tasks.reduce<number | null>((least, { watermark = null }) => {
          return watermark === null ? least : Math.min(least ?? Infinity, watermark)
        }, null),
  )
  const known = times.filter((time) => time !== null)
  return {
    topologyHash,
    position: inputs[0]?.offset ?? null,
    watermarkMs: known.length === 0 ? null : Math.min(...known),
  }
}

/** Written by whoever opens a task; its offset is the fencing token. */
export interface OpenedRecord {
  readonly memberId: string
  readonly generation: number
  readonly openedAt: string
}

/** Which segments of `-windows` are open, and where their records begin. */
export class OpenSegments {
  readonly #firsts = new Map<number, Map<number, number>>()

  /** Notes where a segment's first record stands; later records change nothing. */
  note(store: number, segmentMs: number, offset: number): void {
    let segments = this.#firsts.get(store)
    if (segments === undefined) this.#firsts.set(store, (segments = new Map<number, number>()))
    if (!segments.has(segmentMs)) segments.set(segmentMs, offset)
  }

  close(store: number, segments: readonly number[]): void {
    for (const segment of segments) this.#firsts.get(store)?.delete(segment)
  }

  /** Of a store that is no more. */
  forget(store: number): void {
    this.#firsts.delete(store)
  }

  has(store: number, segmentMs: number): boolean {
    return this.#firsts.get(store)?.has(segmentMs) ?? false
  }

  of(store: number): number[] {
    return [...(this.#firsts.get(store)?.keys() ?? [])]
  }

  /** Everything in `-windows` below it belongs to closed segments; null: no segment is open. */
  leastOffset(): number | null {
    let least: number | null = null
    for (const segments of this.#firsts.values()) {
      for (const offset of segments.values()) if (least === null || offset < least) least = offset
    }
    return least
  }

  snapshot(): Record<string, Record<string, number>> {
    return Object.fromEntries(
      [...this.#firsts].map(([store, segments]) => [String(store), Object.fromEntries(segments)]),
    )
  }

  restore(segments: TaskRecord['segments']): void {
    for (const [store, firsts] of Object.entries(segments)) {
      for (const [segment, offset] of Object.entries(firsts))
        this.note(Number(store), Number(segment), offset)
    }
  }
}
