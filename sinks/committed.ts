/**
 * What a sink's group commits, and where to go on from. The destination's own position is the truth about its
 * rows; the committed offset says what was dead-lettered or skipped behind it, and shows the lag.
 */
import type { OffsetAndMetadata, PartitionOffsets } from '../log/port.ts'
import { SinkError, type Position } from './port.ts'

/** Travels as the committed offset's metadata. */
export interface CommitNote {
  /** Where the destination stood; what lies between it and the offset are marks and dead letters. null: nowhere. */
  readonly held: number | null
  readonly incarnation: string
  /** The sink's own words. */
  readonly note: string | null
}

/** Kafka's limit of a committed offset's metadata, in bytes. */
const MAX_METADATA_BYTES = 4_096

/** @throws RangeError when the sink's note makes it longer than a log keeps */
export function encodeCommitNote({ held, incarnation, note }: CommitNote): string {
  const text = JSON.stringify({ held, incarnation, ...(note === null ? {} : { note }) })
  if (Buffer.byteLength(text) > MAX_METADATA_BYTES) {
    throw new RangeError(
      `The sink's note of ${note?.length ?? 0} characters does not fit a commit (${MAX_METADATA_BYTES} bytes).`,
    )
  }
  return text
}

/** null: the metadata is not a sink's, so somebody else has set the group's offset. */
export function decodeCommitNote(metadata: string): CommitNote | null {
  try {
    const parsed = JSON.parse(metadata) as Partial<CommitNote> | null
    if (typeof parsed?.incarnation !== 'string') return null
    return { held: parsed.held ?? null, incarnation: parsed.incarnation, note: parsed.note ?? null }
  } catch {
    return null
  }
}

export interface StartFacts {
  readonly destination: string
  readonly topic: string
  readonly partition: number
  /** Of the topic as it is now. */
  readonly incarnation: string
  readonly offsets: PartitionOffsets
  readonly committed: OffsetAndMetadata | null
  readonly keepsPositions: boolean
  readonly recovered: Position | null
}

export interface Start {
  /** The first offset to read. */
  readonly next: number
  /** Where the destination stands, or null: it holds nothing. */
  readonly base: number | null
  /** The destination was found behind what it had held once (an older copy, a new table): up to here, rows come again. */
  readonly rewritesBelow: number | null
}

/**
 * Where to go on from. Never a silent reset:
 * @throws SinkError POSITION_MISMATCH when destination, group and topic do not belong together,
 *   ROWS_GONE when the log no longer has the rows that the destination lacks
 */
export function startOf(facts: StartFacts): Start {
  const { committed, recovered, keepsPositions, offsets } = facts
  const note = committed === null ? null : decodeCommitNote(committed.metadata)
  if (note !== null) checkIncarnation(facts, 'its consumer group', note.incarnation)
  if (committed !== null) checkEnd(facts, 'its consumer group', committed.offset)
  if (!keepsPositions) {
    const next = committed?.offset ?? offsets.start
    return checkStart(facts, { next, base: next, rewritesBelow: null })
  }
  if (recovered !== null) {
    checkIncarnation(facts, 'the destination', recovered.incarnation)
    checkEnd(facts, 'the destination', recovered.next)
  }
  const base = recovered?.next ?? null
  if (committed === null) {
    return checkStart(facts, { next: base ?? offsets.start, base, rewritesBelow: null })
  }
  // A commit without our note is somebody's reset: the destination's own position goes before it.
  const held = note === null ? committed.offset : note.held
  if (held === null || (base !== null && held <= base)) {
    // Between the two lie marks, and dead letters that are in the log already.
    return checkStart(facts, { next: Math.max(committed.offset, base ?? 0), base, rewritesBelow: null })
  }
  return checkStart(facts, { next: base ?? 0, base, rewritesBelow: held })
}

function place({ topic, partition }: StartFacts): string {
  return `${topic}, partition ${partition}`
}

function checkIncarnation(facts: StartFacts, whose: string, found: string): void {
  if (found === facts.incarnation) return
  throw new SinkError(
    'POSITION_MISMATCH',
    `${facts.destination}: the position that ${whose} has for ${place(facts)} is of another log or of a topic ` +
      `that was deleted and made again (${found}, now ${facts.incarnation}). Either bring log and table back ` +
      `together (has a file of one data directory been put into another?), or move the table away, so that ` +
      `it is filled afresh.`,
  )
}

function checkEnd(facts: StartFacts, whose: string, next: number): void {
  if (next <= facts.offsets.stable) return
  throw new SinkError(
    'POSITION_MISMATCH',
    `${facts.destination}: ${whose} has ${place(facts)} up to offset ${next}, but the log ends at ` +
      `${facts.offsets.stable}. Was the log restored from an older copy, or the table from a newer one? Bring ` +
      `copies of the same time together, or move the table away, so that it is filled afresh.`,
  )
}

function checkStart(facts: StartFacts, start: Start): Start {
  if (start.next >= facts.offsets.start) return start
  throw new SinkError(
    'ROWS_GONE',
    `${facts.destination} needs ${place(facts)} from offset ${start.next} on, but the log begins at ` +
      `${facts.offsets.start}: rows in between are no longer there. Restore the table from a newer copy, or ` +
      `replay the pipeline from its sources.`,
  )
}
