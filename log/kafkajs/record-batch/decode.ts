import { RecordBatch } from '../../batch.ts'
import { AbortedTransactions, type AbortedTransaction } from '../hardening/aborted-transactions.ts'
import { checkCrc } from '../hardening/crc.ts'
import { FetchPosition } from '../hardening/empty-batches.ts'
import { RecordTable } from '../hardening/large-batches.ts'
import { readInt64 } from '../requests/wire.ts'
import { codecOf, decompress, TooLargeError, ZstdMissingError, type Compression } from './compression.ts'
import { RecordBatchError, type BatchPlace } from './errors.ts'
import * as layout from './layout.ts'
import { isAbortMarker, parseRecords, type RecordsSection } from './records.ts'

export interface FetchedRecords {
  readonly topic: string
  readonly partition: number
  /** The records field of a Fetch response; whole batches, the last one possibly cut. */
  readonly records: Buffer
  /** The first offset that is wanted: what lies below it is left out. */
  readonly fetchOffset: number
  /** As the Fetch response gave them. */
  readonly abortedTransactions: readonly AbortedTransaction[]
}

export interface DecodeOptions {
  /** Most bytes that one fetch may have when decompressed. Default 256 MiB. */
  readonly maxDecompressedBytes?: number
}

export interface DecodedRecords {
  /** None of them empty. Their buffers are views over the fetched one where that was not compressed. */
  readonly batches: RecordBatch[]
  /** Where to fetch next: beyond control, aborted and compacted records too, so also without a batch. */
  readonly nextOffset: number
}

const DEFAULT_MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024
const MAGIC_V2 = 2
const MAX_DELTA = 0x7fffffff

/** A batch of Kafka's, some of whose records are given on. */
interface KafkaBatch extends RecordsSection {
  readonly codec: Compression
  readonly lastOffset: number
  /** Behind it, and behind what is hidden after it. */
  nextOffset: number
}

/**
 * Kafka's batches of one fetch as few of ours, over one buffer each: neighbours are joined unless one is
 * compressed and the other not. Nothing is allocated per record, nothing is read outside of its batch.
 *
 * @throws RecordBatchError (a LogError: STORAGE where damaged, RECORD_TOO_LARGE beyond the bound)
 */
export function decodeRecords(fetched: FetchedRecords, options: DecodeOptions = {}): DecodedRecords {
  const position = new FetchPosition(fetched.fetchOffset)
  const given = walkBatches(fetched, position)
  const batches: RecordBatch[] = []
  let budget = options.maxDecompressedBytes ?? DEFAULT_MAX_DECOMPRESSED_BYTES
  for (let from = 0; from < given.length;) {
    const to = endOfRun(given, from)
    const run = given.slice(from, to)
    const readable = run[0]!.codec === 'none' ? run : decompressRun(fetched, run, budget)
    if (readable !== run) budget -= readable[0]!.buffer.length
    const batch = joinRun(fetched, readable, run.at(-1)!.nextOffset)
    if (batch !== null) batches.push(batch)
    from = to
  }
  return { batches, nextOffset: position.nextOffset }
}

/** Reads the headers; gives the batches whose records are wanted, and moves the position over all. */
function walkBatches(fetched: FetchedRecords, position: FetchPosition): KafkaBatch[] {
  const { records } = fetched
  const aborted = new AbortedTransactions(fetched.abortedTransactions)
  const given: KafkaBatch[] = []
  let leastOffset = 0
  let start = 0
  while (start < records.length) {
    const at = { topic: fetched.topic, partition: fetched.partition, offset: position.nextOffset }
    const end = endOfBatch(records, start, at)
    if (end === null) {
      if (start === 0) throw cutShort(records, at)
      break
    }
    checkCrc(records, start, end, at)
    const batch = readHeader(records, start, end, leastOffset, at)
    leastOffset = batch.lastOffset + 1
    const attributes = records.readInt16BE(start + layout.ATTRIBUTES)
    const isControl = (attributes & layout.CONTROL) !== 0
    const isHidden = aborted.hides({
      producerId: readInt64(records, start + layout.PRODUCER_ID),
      lastOffset: batch.lastOffset,
      isTransactional: (attributes & layout.TRANSACTIONAL) !== 0,
      isAbortMarker: isControl && isAbortMarker(fetched, batch),
    })
    if (isControl || isHidden || batch.count === 0 || batch.lastOffset < fetched.fetchOffset) {
      position.passHidden(batch.lastOffset)
    } else {
      position.passGiven(batch)
      given.push(batch)
    }
    start = end
  }
  return given
}

/** Null where the last batch was cut by the fetch's size. */
function endOfBatch(records: Buffer, start: number, at: BatchPlace): number | null {
  if (records.length - start > layout.MAGIC && records[start + layout.MAGIC] !== MAGIC_V2) {
    const magic = records[start + layout.MAGIC]!
    throw new RecordBatchError(
      at,
      `records of format ${magic}, and only format 2 (since Kafka 0.11) can be read`,
      magic < MAGIC_V2 ? { doNext: 'Copy the topic with a current producer and read the copy' } : {},
    )
  }
  if (records.length - start < layout.RECORDS) return null
  const length = records.readInt32BE(start + layout.LENGTH)
  if (length < layout.RECORDS - layout.LOG_OVERHEAD) {
    throw new RecordBatchError(at, `a batch says that it is ${length} bytes long`)
  }
  const end = start + layout.LOG_OVERHEAD + length
  return end > records.length ? null : end
}

/** Brokers give the first batch whole, however small the fetch: else nothing would ever move. */
function cutShort(records: Buffer, at: BatchPlace): RecordBatchError {
  return new RecordBatchError(at, `the first batch is longer than the ${records.length} bytes that were sent`)
}

/** What it says is checked against its bytes and its neighbours; its checksum is right already. */
function readHeader(
  records: Buffer,
  start: number,
  end: number,
  leastOffset: number,
  at: BatchPlace,
): KafkaBatch {
  const baseOffset = readInt64(records, start + layout.BASE_OFFSET)
  const lastOffsetDelta = records.readInt32BE(start + layout.LAST_OFFSET_DELTA)
  const attributes = records.readInt16BE(start + layout.ATTRIBUTES)
  const count = records.readInt32BE(start + layout.COUNT)
  const codec = codecOf(attributes & layout.CODEC_MASK)
  const lastOffset = baseOffset + lastOffsetDelta
  const fail = (what: string): never => {
    throw new RecordBatchError(at, what)
  }
  if (baseOffset < leastOffset || lastOffsetDelta < 0 || lastOffset >= Number.MAX_SAFE_INTEGER) {
    return fail(
      `a batch of offsets ${baseOffset} to ${lastOffset} where ${leastOffset} is the least possible`,
    )
  }
  // Offsets within a batch are its own, so that it holds no more records than it spans offsets.
  if (count < 0 || count > lastOffsetDelta + 1) return fail(`a batch of ${count} records`)
  if (codec === undefined) {
    return fail(`compressed with codec ${attributes & layout.CODEC_MASK}, which is unknown`)
  }
  if (attributes & layout.CONTROL && codec !== 'none') {
    return fail('a compressed control batch, which there is not')
  }
  const batch = {
    buffer: records,
    start: start + layout.RECORDS,
    end,
    count,
    codec,
    baseOffset,
    lastOffsetDelta,
    lastOffset,
    baseTimestampMs: readInt64(records, start + layout.BASE_TIMESTAMP),
    appendTimeMs: attributes & layout.APPEND_TIME ? readInt64(records, start + layout.MAX_TIMESTAMP) : null,
    nextOffset: lastOffset + 1,
  }
  if (codec === 'none') checkCount(batch, at)
  return batch
}

/** Before room is made for so many rows. */
function checkCount({ count, start, end }: RecordsSection, at: BatchPlace): void {
  if (count * layout.MIN_RECORD_BYTES <= end - start) return
  throw new RecordBatchError(at, `${count} records in ${end - start} bytes`)
}

/** One buffer, one kind of compression, offsets within 32 bits of the first. */
function endOfRun(batches: readonly KafkaBatch[], from: number): number {
  const first = batches[from]!
  const isCompressed = first.codec !== 'none'
  let to = from + 1
  while (to < batches.length) {
    const next = batches[to]!
    if ((next.codec !== 'none') !== isCompressed || next.lastOffset - first.baseOffset > MAX_DELTA) break
    to++
  }
  return to
}

/** The same batches over one new buffer. */
function decompressRun(fetched: FetchedRecords, run: readonly KafkaBatch[], maxBytes: number): KafkaBatch[] {
  const parts: Buffer[] = []
  let made = 0
  for (const batch of run) {
    const part = decompressBatch(fetched, batch, maxBytes - made)
    parts.push(part)
    made += part.length
  }
  const buffer = parts.length === 1 ? parts[0]! : Buffer.concat(parts, made)
  let start = 0
  return run.map((batch, i) => {
    const end = start + parts[i]!.length
    const plain = { ...batch, buffer, start, end }
    checkCount(plain, placeOf(fetched, batch))
    start = end
    return plain
  })
}

function decompressBatch(fetched: FetchedRecords, batch: KafkaBatch, maxBytes: number): Buffer {
  const at = placeOf(fetched, batch)
  try {
    return decompress(batch.codec, batch.buffer.subarray(batch.start, batch.end), maxBytes)
  } catch (cause) {
    if (cause instanceof TooLargeError) {
      throw new RecordBatchError(
        at,
        `a ${batch.codec} batch would make the fetch too large when decompressed`,
        {
          cause,
          code: 'RECORD_TOO_LARGE',
          doNext: 'Fetch fewer bytes at a time, or skip the batch if it is one alone',
        },
      )
    }
    if (cause instanceof ZstdMissingError) {
      throw new RecordBatchError(at, 'a zstd batch cannot be read here', { cause, doNext: cause.message })
    }
    throw new RecordBatchError(at, `a ${batch.codec} batch cannot be decompressed (${String(cause)})`, {
      cause,
    })
  }
}

function placeOf({ topic, partition }: FetchedRecords, { baseOffset }: RecordsSection): BatchPlace {
  return { topic, partition, offset: baseOffset }
}

/** Null where none of the records is wanted. */
function joinRun(
  fetched: FetchedRecords,
  run: readonly RecordsSection[],
  nextOffset: number,
): RecordBatch | null {
  const { topic, partition, fetchOffset } = fetched
  const first = run[0]!
  const table = new RecordTable(run.reduce((sum, { count }) => sum + count, 0))
  for (const section of run) parseRecords(fetched, section, table, first.baseOffset, fetchOffset)
  if (table.count === 0) return null
  return new RecordBatch({
    topic,
    partition,
    buffer: first.buffer,
    nextOffset,
    ...table.finish(first.baseOffset),
  })
}
