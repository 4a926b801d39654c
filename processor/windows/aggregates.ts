import { kindOf } from '../../schemas/errors.ts'
import { double, long, optional, type Field } from '../../schemas/schema.ts'
import type { Cells } from './cells.ts'
import { addToSum, mergeSum, sumOf, SUM_CELLS } from './exact-sum.ts'

/** Where accumulators are written: a growing buffer (log's ByteWriter). */
export interface AccumulatorWriter {
  buffer: Buffer
  position: number
  ensure(bytes: number): void
}

export interface AccumulatorReader {
  readonly buffer: Buffer
  position: number
}

/** Where a record stands in the one order of all records: by event time, source, partition and offset. */
export interface Place {
  readonly eventTimeMs: number
  /** A number for its source (or the aggregate that made it) and partition. */
  readonly origin: number
  readonly offset: number
  /** Which of the values that came of one record. */
  readonly ordinal: number
}

/**
 * One column of an aggregate: how a value is folded into an accumulator, how two accumulators of
 * disjoint records merge, how one is stored, and what it gives. Results do not depend on the order in which
 * records come.
 * An accumulator is some cells, from `at` on; all zero, it has taken in nothing.
 */
export interface Aggregate<in T, out Result> {
  /** Names the function and its storage; part of the topology that state is compared with. */
  readonly kind: string
  readonly field: Field<Result>
  /** The columns of a result that is a row. Absent: it is one value, under the name that it is given. */
  readonly columns?: readonly string[]
  /** Cells of an accumulator. */
  readonly cells: number
  /** Whether `add` needs the records' places, which then have to travel with them. */
  readonly needsPlaces?: true
  /**
   * What of a value is folded in, NaN where it is null. Apart from `add`, so that a row is refused before any of
   * its columns has moved.
   * @throws AggregateError when it cannot be folded in (NaN, infinite)
   */
  extract(value: T): number
  /** What is folded in that is no number; undefined: nothing. Throws as `extract`. */
  keep?(value: T): unknown
  /**
   * Makes of what was kept, and what there is, what `add` will put in its place: for a function that may throw,
   * before any column has moved.
   */
  prepare?(cells: Cells, at: number, kept: unknown, place: Place): unknown
  add(cells: Cells, at: number, extracted: number, kept: unknown, place: Place): void
  /** Adds the accumulator at `from` of other cells. */
  merge(cells: Cells, at: number, others: Cells, from: number): void
  write(writer: AccumulatorWriter, cells: Cells, at: number): void
  /** Into cells that are clear. */
  read(reader: AccumulatorReader, cells: Cells, at: number): void
  result(cells: Cells, at: number): Result
}

/** A function given to an aggregate returned what cannot be aggregated. The record goes to dead letters. */
export class AggregateError extends Error {
  readonly code = 'NOT_AGGREGATABLE'

  constructor(kind: string, value: unknown, expected = 'a finite number below 2^960 or null') {
    super(
      `${kind}: expected ${expected}, got ${typeof value === 'number' ? value : typeof value === 'string' ? `'${value}'` : kindOf(value)}`,
    )
    this.name = 'AggregateError'
  }
}

type NumberOf<T> = (value: T) => number | null

const LARGEST = 2 ** 960

/** NaN: nothing. undefined is refused: it is how a misspelt field reads in a file that was not compiled. */
function numberOf(kind: string, value: number | null): number {
  if (value === null) return NaN
  if (!(Math.abs(value) < LARGEST)) throw new AggregateError(kind, value)
  return value
}

/** How many records. */
export function count(): Aggregate<unknown, number> {
  return {
    kind: 'count',
    field: long(),
    cells: 1,
    extract: () => NaN,
    add: ({ numbers }, at) => {
      numbers[at]!++
    },
    merge: ({ numbers }, at, others, from) => {
      numbers[at]! += others.numbers[from]!
    },
    write: (writer, { numbers }, at) => writeDouble(writer, numbers[at]!),
    read: (reader, { numbers }, at) => {
      numbers[at] = readDouble(reader)
    },
    result: ({ numbers }, at) => numbers[at]!,
  }
}

/** The exact sum, nulls left out; 0 where there is nothing to add. */
export function sum<T>(of: NumberOf<T>): Aggregate<T, number> {
  return {
    kind: 'sum',
    field: double(),
    cells: SUM_CELLS,
    extract: (value) => numberOf('sum', of(value)),
    add: (cells, at, number) => {
      if (!Number.isNaN(number)) addToSum(cells, at, number)
    },
    merge: mergeSum,
    write: writeSum,
    read: readSum,
    result: sumOf,
  }
}

/** The exact sum over the number of non-null values; null where there is none. */
export function avg<T>(of: NumberOf<T>): Aggregate<T, number | null> {
  return {
    kind: 'avg',
    field: optional(double()),
    cells: 1 + SUM_CELLS,
    extract: (value) => numberOf('avg', of(value)),
    add: (cells, at, number) => {
      if (Number.isNaN(number)) return
      cells.numbers[at]!++
      addToSum(cells, at + 1, number)
    },
    merge: (cells, at, others, from) => {
      cells.numbers[at]! += others.numbers[from]!
      mergeSum(cells, at + 1, others, from + 1)
    },
    write: (writer, cells, at) => {
      writeDouble(writer, cells.numbers[at]!)
      writeSum(writer, cells, at + 1)
    },
    read: (reader, cells, at) => {
      cells.numbers[at] = readDouble(reader)
      readSum(reader, cells, at + 1)
    },
    result: (cells, at) => {
      const records = cells.numbers[at]!
      return records === 0 ? null : sumOf(cells, at + 1) / records
    },
  }
}

/** The least non-null value; null where there is none. */
export function min<T>(of: NumberOf<T>): Aggregate<T, number | null> {
  return extreme('min', of, (candidate, current) => candidate < current)
}

/** The greatest non-null value; null where there is none. */
export function max<T>(of: NumberOf<T>): Aggregate<T, number | null> {
  return extreme('max', of, (candidate, current) => candidate > current)
}

/** Two cells: whether there is one, and which. */
function extreme<T>(
  kind: 'min' | 'max',
  of: NumberOf<T>,
  replaces: (candidate: number, current: number) => boolean,
): Aggregate<T, number | null> {
  const offer = ({ numbers }: Cells, at: number, candidate: number): void => {
    if (Number.isNaN(candidate)) return
    if (numbers[at] === 1 && !replaces(candidate, numbers[at + 1]!)) return
    numbers[at] = 1
    numbers[at + 1] = candidate
  }
  const valueOf = ({ numbers }: Cells, at: number): number => (numbers[at] === 1 ? numbers[at + 1]! : NaN)
  return {
    kind,
    field: optional(double()),
    cells: 2,
    extract: (value) => numberOf(kind, of(value)),
    add: offer,
    merge: (cells, at, others, from) => offer(cells, at, valueOf(others, from)),
    write: (writer, cells, at) => writeDouble(writer, valueOf(cells, at)),
    read: (reader, cells, at) => offer(cells, at, readDouble(reader)),
    result: (cells, at) => {
      const value = valueOf(cells, at)
      return Number.isNaN(value) ? null : value
    },
  }
}

export function writeDouble(writer: AccumulatorWriter, value: number): void {
  writer.ensure(8)
  writer.position = writer.buffer.writeDoubleLE(value, writer.position)
}

export function readDouble(reader: AccumulatorReader): number {
  const value = reader.buffer.readDoubleLE(reader.position)
  reader.position += 8
  return value
}

/** How many terms, then the terms, smallest first. */
function writeSum(writer: AccumulatorWriter, cells: Cells, at: number): void {
  const high = cells.numbers[at]!
  const low = cells.numbers[at + 1]!
  if (Number.isNaN(high)) {
    const { terms } = cells.outgrown.get(at)!
    writeLength(writer, terms.length)
    for (const term of terms) writeDouble(writer, term)
    return
  }
  writeLength(writer, (low === 0 ? 0 : 1) + (high === 0 ? 0 : 1))
  if (low !== 0) writeDouble(writer, low)
  if (high !== 0) writeDouble(writer, high)
}

function writeLength(writer: AccumulatorWriter, length: number): void {
  writer.ensure(1)
  writer.buffer[writer.position++] = length
}

function readSum(reader: AccumulatorReader, cells: Cells, at: number): void {
  const length = reader.buffer[reader.position++]!
  for (let i = 0; i < length; i++) addToSum(cells, at, readDouble(reader))
}
