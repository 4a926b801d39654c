import {
  HEADERS_END,
  KEY_END,
  OFFSET_DELTA,
  RecordBatch,
  STRIDE,
  VALUE_END,
  type ProduceBatch,
} from '../batch.ts'
import type { PartitionOffsets, TopicConfig } from '../port.ts'
import { Refusal } from './wire.ts'

export type Decision = 'commit' | 'abort'

/** What one request, or one marker, put into a partition. */
interface Stored {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: number
  /** `plain` was never in a transaction; a marker holds no records. */
  fate: 'plain' | 'open' | 'committed' | 'aborted' | 'marker'
  readonly batch: RecordBatch | null
}

/** What was stored, as one who looks on from outside sees it; its fate may change yet. */
export interface Inspected {
  readonly fate: Stored['fate']
  readonly producerId: number
  readonly batch: RecordBatch
}

/** Who writes, and which of its requests this is: what makes a retry no second record. */
export interface Writer {
  readonly producerId: number
  readonly epoch: number
  readonly sequence: number
  readonly isTransactional: boolean
}

interface ProducerState {
  epoch: number
  nextSequence: number
  readonly appended: Map<number, number>
}

/** One partition, as its leader holds it. */
export class SimulatedPartition {
  readonly topic: string
  readonly index: number
  readonly config: TopicConfig
  start = 0
  end = 0
  deleted = false
  /** Called whenever more, or other, records can be read. */
  readonly listeners = new Set<() => void>()
  #stored: Stored[] = []
  readonly #producers = new Map<number, ProducerState>()
  /** First offset of each open transaction, by producer. */
  readonly #open = new Map<number, number>()

  constructor(topic: string, index: number, config: TopicConfig) {
    this.topic = topic
    this.index = index
    this.config = config
  }

  get name(): string {
    return `${this.topic}-${this.index}`
  }

  /** The last stable offset. */
  get stable(): number {
    let stable = this.end
    for (const first of this.#open.values()) if (first < stable) stable = first
    return stable
  }

  offsets(): PartitionOffsets {
    return { start: this.start, stable: this.stable, end: this.end }
  }

  /** @returns the first record's offset, the same again for a request that was appended before */
  append(batch: ProduceBatch, writer: Writer, timestampMs: number): number {
    const { producerId, epoch, sequence, isTransactional } = writer
    if (batch.count === 0) return this.end
    let producer = this.#producers.get(producerId)
    if (producer === undefined || producer.epoch < epoch) {
      producer = { epoch, nextSequence: 0, appended: new Map() }
      this.#producers.set(producerId, producer)
    }
    if (producer.epoch > epoch) throw fenced(`${this.name} knows a later epoch of producer ${producerId}`)
    const before = producer.appended.get(sequence)
    if (before !== undefined) return before
    if (sequence !== producer.nextSequence) {
      throw new Refusal(
        'OUT_OF_ORDER_SEQUENCE_NUMBER',
        `${this.name} expected sequence ${producer.nextSequence} of producer ${producerId}, not ${sequence}`,
      )
    }
    const baseOffset = this.end
    producer.nextSequence += batch.count
    producer.appended.set(sequence, baseOffset)
    this.#stored.push({
      baseOffset,
      lastOffset: baseOffset + batch.count - 1,
      producerId,
      fate: isTransactional ? 'open' : 'plain',
      batch: storedBatch(this.topic, this.index, batch, baseOffset, timestampMs),
    })
    this.end += batch.count
    if (isTransactional && !this.#open.has(producerId)) this.#open.set(producerId, baseOffset)
    this.#changed()
    return baseOffset
  }

  /** The end of a producer's transaction; its epoch is the least that may write here from now on. */
  writeMarker(producerId: number, epoch: number, decision: Decision): void {
    const producer = this.#producers.get(producerId)
    if (producer !== undefined && producer.epoch > epoch) return
    if (producer === undefined || producer.epoch < epoch) {
      this.#producers.set(producerId, { epoch, nextSequence: 0, appended: new Map() })
    }
    for (const stored of this.#stored) {
      if (stored.producerId === producerId && stored.fate === 'open') {
        stored.fate = decision === 'commit' ? 'committed' : 'aborted'
      }
    }
    this.#open.delete(producerId)
    const at = this.end++
    this.#stored.push({ baseOffset: at, lastOffset: at, producerId, fate: 'marker', batch: null })
    this.#changed()
  }

  /**
   * What a read_committed reader gets from `from` on: the next batch, or as many as there are joined to one, cut to
   * about `maxBytes`, or none and where to look next.
   */
  read(from: number, maxBytes: number, joins: boolean): { batch: RecordBatch | null; nextOffset: number } {
    if (from < this.start || from > this.end) {
      throw new Refusal(
        'OFFSET_OUT_OF_RANGE',
        `Offset ${from} of ${this.name} is not in the log, which goes from ${this.start} to ${this.end}: choose where to go on`,
      )
    }
    const { stable } = this
    const found: RecordBatch[] = []
    let roomBytes = maxBytes
    for (let i = this.#indexOf(from); i < this.#stored.length; i++) {
      const { baseOffset, batch, fate } = this.#stored[i]!
      if (baseOffset >= stable || roomBytes <= 0) break
      if (batch === null || fate === 'aborted') continue
      const cut = cutBatch(batch, from, roomBytes)
      found.push(cut)
      if (!joins || cut.nextOffset < batch.nextOffset) break
      roomBytes -= batch.buffer.length
    }
    const batch = joinBatches(found)
    return { batch, nextOffset: batch?.nextOffset ?? Math.max(from, stable) }
  }

  hasRecords(from: number): boolean {
    if (from < this.start || from > this.end) return true
    const { stable } = this
    for (let i = this.#indexOf(from); i < this.#stored.length; i++) {
      const { baseOffset, batch, fate } = this.#stored[i]!
      if (baseOffset >= stable) return false
      if (batch !== null && fate !== 'aborted') return true
    }
    return false
  }

  deleteBefore(offset: number): void {
    if (offset > this.end) {
      throw new Refusal(
        'OFFSET_OUT_OF_RANGE',
        `Records of ${this.name} cannot be deleted below ${offset}: the log ends at ${this.end}`,
      )
    }
    if (offset <= this.start) return
    this.start = offset
    this.#stored = this.#stored.filter(({ lastOffset }) => lastOffset >= offset)
  }

  /** Keeps the last record of each key, at its offset, of what is decided. */
  compact(): void {
    const { stable } = this
    const last = new Map<string, number>()
    const isClean = ({ lastOffset, fate }: Stored): boolean =>
      lastOffset < stable && (fate === 'plain' || fate === 'committed')
    for (const stored of this.#stored) {
      const { batch } = stored
      if (!isClean(stored) || batch === null) continue
      for (let i = 0; i < batch.count; i++) last.set(keyText(batch, i), batch.offsetAt(i))
    }
    this.#stored = this.#stored.flatMap((stored) => {
      const { batch, fate } = stored
      if (fate === 'aborted' && stored.lastOffset < stable) return []
      if (!isClean(stored) || batch === null) return [stored]
      const rows: number[] = []
      for (let i = 0; i < batch.count; i++) {
        if (last.get(keyText(batch, i)) === batch.offsetAt(i)) rows.push(i)
      }
      if (rows.length === 0) return []
      if (rows.length === batch.count) return [stored]
      const kept = pickRows(batch, rows)
      return [
        { ...stored, baseOffset: kept.baseOffset, lastOffset: kept.offsetAt(kept.count - 1), batch: kept },
      ]
    })
  }

  /** Every batch that is there, decided or not, with what becomes of it: for who checks the whole. */
  inspect(): readonly Inspected[] {
    return this.#stored.filter((stored): stored is Stored & Inspected => stored.batch !== null)
  }

  /** The first stored batch that ends at `offset` or behind it. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#stored.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#stored[middle]!.lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #changed(): void {
    for (const listener of [...this.listeners]) listener()
  }
}

export function fenced(message: string): Refusal {
  return new Refusal('INVALID_PRODUCER_EPOCH', message)
}

function keyText(batch: RecordBatch, index: number): string {
  return batch.keyAt(index)?.toString('latin1') ?? '\0'
}

function storedBatch(
  topic: string,
  partition: number,
  batch: ProduceBatch,
  baseOffset: number,
  timestampMs: number,
): RecordBatch {
  const { count, byteLength } = batch
  const positions = batch.positions.slice(0, count * STRIDE)
  for (let i = 0; i < count; i++) positions[i * STRIDE + OFFSET_DELTA] = i
  return new RecordBatch({
    topic,
    partition,
    buffer: Buffer.from(batch.buffer.subarray(0, byteLength)),
    positions,
    count,
    baseOffset,
    nextOffset: baseOffset + count,
    timestampMs,
  })
}

/** The part from offset `from` on, of about `maxBytes`, at least one record. */
function cutBatch(batch: RecordBatch, from: number, maxBytes: number): RecordBatch {
  const { count, positions } = batch
  let first = 0
  while (first < count - 1 && batch.offsetAt(first) < from) first++
  const startByte = first === 0 ? 0 : rowEnd(positions, first - 1)
  let last = first + 1
  while (last < count && rowEnd(positions, last) - startByte <= maxBytes) last++
  if (first === 0 && last === count) return batch
  return batch.slice(first, last)
}

function pickRows(batch: RecordBatch, rows: readonly number[]): RecordBatch {
  const baseOffset = batch.offsetAt(rows[0]!)
  const positions = new Int32Array(rows.length * STRIDE)
  rows.forEach((row, i) => {
    positions.set(batch.positions.subarray(row * STRIDE, (row + 1) * STRIDE), i * STRIDE)
    positions[i * STRIDE + OFFSET_DELTA] = batch.offsetAt(row) - baseOffset
  })
  return new RecordBatch({
    topic: batch.topic,
    partition: batch.partition,
    buffer: batch.buffer,
    positions,
    count: rows.length,
    baseOffset,
    nextOffset: baseOffset + positions[(rows.length - 1) * STRIDE + OFFSET_DELTA]! + 1,
    timestampMs: batch.timestampMs,
  })
}

/** As a client joins what one response holds. null: of none */
function joinBatches(batches: readonly RecordBatch[]): RecordBatch | null {
  const [first] = batches
  if (first === undefined || batches.length === 1) return first ?? null
  const count = batches.reduce((sum, batch) => sum + batch.count, 0)
  const positions = new Int32Array(count * STRIDE)
  const timestampsMs = new Float64Array(count)
  let row = 0
  let bytes = 0
  for (const batch of batches) {
    for (let i = 0; i < batch.count; i++, row++) {
      for (let column = 0; column < OFFSET_DELTA; column++) {
        const at = batch.positions[i * STRIDE + column]!
        positions[row * STRIDE + column] = at < 0 ? at : at + bytes
      }
      positions[row * STRIDE + OFFSET_DELTA] = batch.offsetAt(i) - first.baseOffset
      timestampsMs[row] = batch.timestampAt(i)
    }
    bytes += batch.buffer.length
  }
  const { topic, partition, baseOffset, timestampMs } = first
  return new RecordBatch({
    topic,
    partition,
    baseOffset,
    timestampMs,
    buffer: Buffer.concat(batches.map(({ buffer }) => buffer)),
    positions,
    count,
    nextOffset: batches.at(-1)!.nextOffset,
    timestampsMs,
  })
}

function rowEnd(positions: Int32Array, index: number): number {
  const row = index * STRIDE
  return Math.max(positions[row + KEY_END]!, positions[row + VALUE_END]!, positions[row + HEADERS_END]!)
}
