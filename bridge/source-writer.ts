import type { Clock } from '../config/clock.ts'
import { KEY_START, STRIDE } from '../log/batch.ts'
import type { Writer } from '../schemas/codec/encoder.ts'
import { deadLetterSchema } from '../schemas/dead-letter.ts'
import { writeHeader } from '../schemas/wire.ts'
import { encodeSourceRecord, type SourceRecord } from './positions.ts'
import type { Origin, RecordSink, SourceReader } from './reader.ts'
import { TransactionContent, type Destinations } from './transaction.ts'

/** What a source needs of its contract (schemas/contract.ts). */
export interface SourceContract {
  readonly name: string
  readonly disorderMs: number
  /** Checks and casts in place; the event time in ms, or why it is refused. Never throws. */
  check(
    json: unknown,
    nowMs: number,
    fallbackEventTimeMs: number,
  ): number | { readonly reason: string; readonly field: string | null }
  keyOf(value: never): string
  encodeSource(writer: Writer, value: never, eventTimeMs: number, watermarkMs: number | null): void
}

export interface TransactionLimits {
  /** A transaction is ended when it has this many records. Default 10,000. */
  readonly maxRecords?: number
  /** … or this many bytes. Default 1 MiB. */
  readonly maxBytes?: number
  /** … or is this old, by the clock. Default 200. */
  readonly maxMs?: number
}

export interface SourceWriterOptions {
  /** The logical source; heartbeats are signed with it. */
  readonly name: string
  readonly application: string
  readonly contract: SourceContract
  readonly schemaId: number
  readonly deadLetterSchemaId: number
  readonly to: Destinations
  /** Where the source stood. */
  readonly record: SourceRecord
  /** What the source's topic and the dead letters' take at once; Infinity: anything. */
  readonly maxBytes: { readonly records: number; readonly deadLetters: number }
  readonly disorderMs: number
  readonly clock: Clock
  readonly limits: Required<TransactionLimits>
  /** Writes it as one transaction; calls are answered in order. */
  commit(content: TransactionContent): Promise<void>
}

/** What a record's batch has beside its key and value, and a dead letter beside its texts and payload. */
const ENVELOPE_BYTES = 512
const MOST_BYTES_A_CHARACTER = 3

/** A T that only the reader's clock moved, or that stands still while records come, is written this often. */
const HEARTBEAT_MS = 1_000

/**
 * One logical source on its way into the log (design §4, §7): fills a transaction while the one before
 * it is being flushed; at most these two exist. Each transaction moves the records, their dead letters,
 * the heartbeat and the position together.
 */
export class SourceWriter implements RecordSink {
  readonly #options: SourceWriterOptions
  #filling: TransactionContent
  #spare: TransactionContent
  #inFlight: Promise<void> = Promise.resolve()
  #filledSinceMs = 0
  #nowMs = 0

  #t: number | null
  #heartbeatT: number | null
  /** By the clock. */
  #heartbeatMs: number
  #unclosedE: number | null
  #processed: number
  #invalid: number
  #behindWatermark: number
  #bytes: number
  /** As stored with the last transaction that was sent, and that was committed. */
  #stored: string
  #committed: SourceRecord

  constructor(options: SourceWriterOptions) {
    this.#options = options
    this.#filling = new TransactionContent(options.to)
    this.#spare = new TransactionContent(options.to)
    const { record } = options
    this.#t = record.t
    this.#heartbeatT = record.t
    this.#heartbeatMs = options.clock.nowMs()
    this.#unclosedE = record.unclosedE
    this.#processed = record.processed
    this.#invalid = record.invalid
    this.#behindWatermark = record.behindWatermark
    this.#bytes = record.bytes
    this.#stored = encodeSourceRecord(options.name, record).value
    this.#committed = record
  }

  /** Where the source stands by its last committed transaction. */
  get committed(): SourceRecord {
    return this.#committed
  }

  /** Whether the transaction being filled has reached one of its limits. */
  isDue(nowMs: number): boolean {
    const { maxRecords, maxBytes } = this.#options.limits
    const { records } = this.#filling
    if (records === 0) return false
    return records >= maxRecords || this.#filling.byteLength >= maxBytes || this.dueInMs(nowMs) <= 0
  }

  /** How long what is filled so far may still wait; infinite when there is nothing. */
  dueInMs(nowMs: number): number {
    if (this.#filling.records === 0) return Infinity
    return this.#filledSinceMs + this.#options.limits.maxMs - nowMs
  }

  /** To be called before a chunk is read: records are judged, and dead letters stamped, by this time. */
  startChunk(nowMs: number): void {
    this.#nowMs = nowMs
    if (this.#filling.records === 0) this.#filledSinceMs = nowMs
  }

  value(json: unknown, origin: Origin): void {
    const { contract, schemaId, disorderMs, maxBytes, to } = this.#options
    const eventTimeMs = contract.check(json, this.#nowMs, origin.fallbackEventTimeMs)
    if (typeof eventTimeMs !== 'number') {
      this.reject(eventTimeMs.reason, eventTimeMs.field, origin)
      return
    }
    const value = json as never
    const builder = this.#filling.begin(contract.keyOf(value))
    const watermarkMs = this.#t
    writeHeader(builder.writer, schemaId)
    try {
      contract.encodeSource(builder.writer, value, eventTimeMs, watermarkMs)
    } catch (error) {
      // The contract's check passed what its codec refuses: a fault of ours, but the record has an address.
      builder.abandon()
      this.reject(`cannot be encoded: ${(error as Error).message}`, null, origin)
      return
    }
    const bytes = builder.writer.position - builder.positions[builder.count * STRIDE + KEY_START]!
    if (bytes > maxBytes.records - ENVELOPE_BYTES) {
      builder.abandon()
      this.reject(
        `record too large for topic ${to.topic} (${bytes} bytes, its max.message.bytes is ${maxBytes.records}): ` +
          'raise it and send the record again, or make the record smaller',
        null,
        origin,
      )
      return
    }
    builder.end()
    this.#filling.records++
    this.#processed++
    this.#bytes += origin.byteLength
    if (watermarkMs === null || eventTimeMs - disorderMs > watermarkMs) this.#t = eventTimeMs - disorderMs
    else if (eventTimeMs < watermarkMs) this.#behindWatermark++
    if (this.#unclosedE === null || eventTimeMs > this.#unclosedE) this.#unclosedE = eventTimeMs
  }

  reject(reason: string, field: string | null, origin: Origin): void {
    const { application, deadLetterSchemaId, maxBytes } = this.#options
    const payload = origin.buffer.subarray(origin.start, origin.end)
    const texts = application.length + origin.source.length + reason.length + (field?.length ?? 0)
    const room = Math.max(0, maxBytes.deadLetters - ENVELOPE_BYTES - MOST_BYTES_A_CHARACTER * texts)
    const builder = this.#filling.deadLetters
    builder.beginKey()
    builder.beginValue(true)
    writeHeader(builder.writer, deadLetterSchemaId)
    deadLetterSchema.encode(builder.writer, {
      pipeline: application,
      source: origin.source,
      partition: 0,
      position: origin.position,
      reason:
        payload.length <= room
          ? reason
          : `${reason} (kept here: the first ${room} of ${payload.length} bytes)`,
      field,
      payload: payload.subarray(0, room),
      failed_at: this.#nowMs,
      line: origin.line,
    })
    builder.end()
    this.#filling.records++
    this.#invalid++
    this.#bytes += origin.byteLength
  }

  /**
   * Ends the transaction being filled, with the reader's position, and has it written while the next one
   * is filled. Waits for the one before; does nothing when nothing has moved.
   * @throws whatever the transaction before this one threw: then the writer is of no use any more
   */
  async flush(reader: SourceReader, nowMs: number): Promise<void> {
    const content = this.#filling
    const positions = reader.takePositions()
    const moved = content.records > 0 || positions.length > 0
    const t = latest(this.#t, reader.promiseMs(nowMs))
    const isHeard = this.#isHeard(t, moved, nowMs)
    if (!moved && !isHeard) return
    this.#t = t
    if (t !== null && isHeard) {
      content.markAll({ kind: 'heartbeat', writer: this.#options.name, t })
      this.#heartbeatT = t
      this.#heartbeatMs = nowMs
    }
    const record = this.#record()
    const stored = encodeSourceRecord(this.#options.name, record)
    if (stored.value !== this.#stored) content.store(stored)
    this.#stored = stored.value
    for (const position of positions) content.store(position)
    await this.#send(content, record)
  }

  /** Says again how far a source has come that was read to its end; all that it wrote must be settled. */
  async repeatHeartbeat(nowMs: number): Promise<void> {
    const t = this.#heartbeatT
    // Behind an end mark a source is not silent, and nothing more is to be said.
    if (t === null || this.#committed.isEnded || nowMs - this.#heartbeatMs < HEARTBEAT_MS) return
    this.#heartbeatMs = nowMs
    this.#filling.markAll({ kind: 'heartbeat', writer: this.#options.name, t })
    await this.#send(this.#filling, this.#committed)
    await this.settled()
  }

  async #send(content: TransactionContent, record: SourceRecord): Promise<void> {
    await this.#inFlight
    this.#filling = this.#spare
    this.#spare = content
    this.#inFlight = this.#options.commit(content).then(() => {
      content.clear()
      this.#committed = record
    })
    // Whoever awaits it next throws it; until then it must not end the process.
    this.#inFlight.catch(() => undefined)
  }

  /** Resolves when all that was flushed is committed. */
  async settled(): Promise<void> {
    await this.#inFlight
  }

  /** Whether to write a heartbeat: where T has risen, and now and then where it stands still though records come. */
  #isHeard(t: number | null, moved: boolean, nowMs: number): boolean {
    const before = this.#heartbeatT
    if (t === null || before === null) return t !== null
    if (moved) return t > before || nowMs - this.#heartbeatMs >= HEARTBEAT_MS
    return t - before >= HEARTBEAT_MS
  }

  #record(): SourceRecord {
    return {
      t: this.#t,
      unclosedE: this.#unclosedE,
      isEnded: false,
      processed: this.#processed,
      invalid: this.#invalid,
      behindWatermark: this.#behindWatermark,
      bytes: this.#bytes,
    }
  }
}

function latest(a: number | null, b: number | null): number | null {
  if (a === null) return b
  return b === null || a >= b ? a : b
}
