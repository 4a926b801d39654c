import { double, long, optional, type Field } from '../../schemas/schema.ts'
import { ExactSum } from './exact-sum.ts'

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

/**
 * One column of an aggregate: how a value is folded into an accumulator, how two accumulators of
 * disjoint records merge, how one is stored, and what it gives. Results do not depend on order.
 */
export interface Aggregate<in T, out Result, Accumulator = unknown> {
  /** Names the function and its storage; part of the topology that state is compared with. */
  readonly kind: string
  readonly field: Field<Result>
  create(): Accumulator
  /**
   * What of a value is folded in. Apart from `add`, so that a row is refused before any of its
   * columns has moved.
   * @throws AggregateError when it cannot be folded in (NaN, infinite)
   */
  extract(value: T): number | null
  add(accumulator: Accumulator, extracted: number | null): void
  merge(accumulator: Accumulator, other: Accumulator): void
  write(writer: AccumulatorWriter, accumulator: Accumulator): void
  read(reader: AccumulatorReader): Accumulator
  result(accumulator: Accumulator): Result
}

/** A function given to an aggregate returned what cannot be aggregated. The record goes to dead letters. */
export class AggregateError extends Error {
  readonly code = 'NOT_AGGREGATABLE'

  constructor(kind: string, value: unknown) {
    super(`${kind}: expected a finite number below 2^960 or null, got ${String(value)}`)
    this.name = 'AggregateError'
  }
}

type NumberOf<T> = (value: T) => number | null

const LARGEST = 2 ** 960

function numberOrNull(kind: string, value: number | null | undefined): number | null {
  if (value === null || value === undefined) return null
  if (!(Math.abs(value) < LARGEST)) throw new AggregateError(kind, value)
  return value
}

interface Count {
  records: number
}

/** How many records. */
export function count(): Aggregate<unknown, number, Count> {
  return {
    kind: 'count',
    field: long(),
    create: () => ({ records: 0 }),
    extract: () => null,
    add: (accumulator) => {
      accumulator.records++
    },
    merge: (accumulator, other) => {
      accumulator.records += other.records
    },
    write: (writer, accumulator) => writeDouble(writer, accumulator.records),
    read: (reader) => ({ records: readDouble(reader) }),
    result: (accumulator) => accumulator.records,
  }
}

/** The exact sum, nulls left out; 0 where there is nothing to add. */
export function sum<T>(of: NumberOf<T>): Aggregate<T, number, ExactSum> {
  return {
    kind: 'sum',
    field: double(),
    create: () => new ExactSum(),
    extract: (value) => numberOrNull('sum', of(value)),
    add: (accumulator, number) => {
      if (number !== null) accumulator.add(number)
    },
    merge: (accumulator, other) => accumulator.merge(other),
    write: writeSum,
    read: readSum,
    result: (accumulator) => accumulator.value(),
  }
}

interface Average {
  records: number
  total: ExactSum
}

/** The exact sum over the number of non-null values; null where there is none. */
export function avg<T>(of: NumberOf<T>): Aggregate<T, number | null, Average> {
  return {
    kind: 'avg',
    field: optional(double()),
    create: () => ({ records: 0, total: new ExactSum() }),
    extract: (value) => numberOrNull('avg', of(value)),
    add: (accumulator, number) => {
      if (number === null) return
      accumulator.records++
      accumulator.total.add(number)
    },
    merge: (accumulator, other) => {
      accumulator.records += other.records
      accumulator.total.merge(other.total)
    },
    write: (writer, accumulator) => {
      writeDouble(writer, accumulator.records)
      writeSum(writer, accumulator.total)
    },
    read: (reader) => ({ records: readDouble(reader), total: readSum(reader) }),
    result: ({ records, total }) => (records === 0 ? null : total.value() / records),
  }
}

/** The least non-null value; null where there is none. */
export function min<T>(of: NumberOf<T>): Aggregate<T, number | null, Extreme> {
  return extreme('min', of, (candidate, current) => candidate < current)
}

/** The greatest non-null value; null where there is none. */
export function max<T>(of: NumberOf<T>): Aggregate<T, number | null, Extreme> {
  return extreme('max', of, (candidate, current) => candidate > current)
}

interface Extreme {
  value: number | null
}

function extreme<T>(
  kind: 'min' | 'max',
  of: NumberOf<T>,
  replaces: (candidate: number, current: number) => boolean,
): Aggregate<T, number | null, Extreme> {
  const offer = (accumulator: Extreme, candidate: number | null): void => {
    if (candidate === null) return
    if (accumulator.value === null || replaces(candidate, accumulator.value)) accumulator.value = candidate
  }
  return {
    kind,
    field: optional(double()),
    create: () => ({ value: null }),
    extract: (value) => numberOrNull(kind, of(value)),
    add: offer,
    merge: (accumulator, other) => offer(accumulator, other.value),
    write: (writer, { value }) => writeDouble(writer, value ?? NaN),
    read: (reader) => {
      const value = readDouble(reader)
      return { value: Number.isNaN(value) ? null : value }
    },
    result: ({ value }) => value,
  }
}

function writeDouble(writer: AccumulatorWriter, value: number): void {
  writer.ensure(8)
  writer.position = writer.buffer.writeDoubleLE(value, writer.position)
}

function readDouble(reader: AccumulatorReader): number {
  const value = reader.buffer.readDoubleLE(reader.position)
  reader.position += 8
  return value
}

function writeSum(writer: AccumulatorWriter, { terms }: ExactSum): void {
  writer.ensure(1 + terms.length * 8)
  writer.buffer[writer.position++] = terms.length
  for (const term of terms) writeDouble(writer, term)
}

function readSum(reader: AccumulatorReader): ExactSum {
  const sum = new ExactSum()
  const length = reader.buffer[reader.position++]!
  for (let i = 0; i < length; i++) sum.terms.push(readDouble(reader))
  return sum
}
