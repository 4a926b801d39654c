import { optional, type Field, type FieldKind } from '../../schemas/schema.ts'
import { AggregateError, readDouble, writeDouble, type Aggregate } from './aggregates.ts'
import type { Cells } from './cells.ts'
import { comparePlace, isEmpty, PLACE_CELLS, placeAt, readPlace, setPlace, writePlace } from './places.ts'
import { ValueCodec } from './values.ts'

type ValueOf<T, V> = (value: T) => NoInfer<V> | null | undefined

/**
 * The non-null value of the first record, null where there is none. Records stand in the order of their event time;
 * where it is the same, in that of source, partition and offset: whatever order they come in, and in however many
 * tasks, the result is the same.
 * @param as what the function gives: `first((o) => o.status, string())`
 */
export function first<T, V>(of: ValueOf<T, V>, as: Field<V>): Aggregate<T, V | null> {
  return edge('first', of, as, -1)
}

/** The non-null value of the last record, null where there is none. In the order of {@link first}. */
export function last<T, V>(of: ValueOf<T, V>, as: Field<V>): Aggregate<T, V | null> {
  return edge('last', of, as, 1)
}

/** @param sign of how the place of what wins compares with that of what it replaces */
function edge<T, V>(kind: string, of: ValueOf<T, V>, as: Field<V>, sign: number): Aggregate<T, V | null> {
  const common = { kind: `${kind} ${as.kind}`, field: optional(as), needsPlaces: true } as const
  return as.kind === 'string' || as.kind === 'bytes'
    ? { ...common, ...heldEdge(common.kind, of, as, sign) }
    : { ...common, ...numberEdge(common.kind, of, as, sign) }
}

type Folding<T, V> = Omit<Aggregate<T, V | null>, 'kind' | 'field'>

/** Its place and the number. */
function numberEdge<T, V>(kind: string, of: ValueOf<T, V>, as: Field<V>, sign: number): Folding<T, V> {
  const accepts = NUMBERS[as.kind as keyof typeof NUMBERS]
  const offer = (cells: Cells, at: number, number: number, place: ReturnType<typeof placeAt>): void => {
    const { numbers } = cells
    if (!isEmpty(cells, at)) {
      const order = comparePlace(place, cells, at) || number - numbers[at + PLACE_CELLS]!
      if (order * sign <= 0) return
    }
    setPlace(cells, at, place)
    numbers[at + PLACE_CELLS] = number
  }
  return {
    cells: PLACE_CELLS + 1,
    extract: (value) => {
      const given = of(value)
      if (given === null || given === undefined) return NaN
      const number = accepts(given)
      if (Number.isNaN(number)) throw new AggregateError(kind, given, `a ${as.kind} or null`)
      return number
    },
    add: (cells, at, number, _, place) => {
      if (!Number.isNaN(number)) offer(cells, at, number, place)
    },
    merge: (cells, at, others, from) => {
      if (isEmpty(others, from)) return
      offer(cells, at, others.numbers[from + PLACE_CELLS]!, placeAt(others, from))
    },
    write: (writer, cells, at) => {
      writePlace(writer, cells, at)
      writeDouble(writer, cells.numbers[at + PLACE_CELLS]!)
    },
    read: (reader, cells, at) => {
      readPlace(reader, cells, at)
      cells.numbers[at + PLACE_CELLS] = readDouble(reader)
    },
    result: (cells, at) => {
      if (isEmpty(cells, at)) return null
      const number = cells.numbers[at + PLACE_CELLS]!
      return (as.kind === 'boolean' ? number === 1 : number) as V
    },
  }
}

/** As it is stored; NaN: it is none. */
const NUMBERS: Record<Exclude<FieldKind, 'string' | 'bytes'>, (value: unknown) => number> = {
  // Never a negative zero.
  double: (value) => (Number.isFinite(value) ? (value as number) + 0 : NaN),
  long: (value) => (Number.isSafeInteger(value) ? (value as number) : NaN),
  int: (value) => (value === ((value as number) | 0) ? value : NaN),
  timestamp: (value) => (Number.isFinite(value) ? Math.round((value as number) * 1_000) / 1_000 : NaN),
  boolean: (value) => (typeof value === 'boolean' ? Number(value) : NaN),
}

/** Its place, and beside the cells the text or bytes. */
function heldEdge<T, V>(kind: string, of: ValueOf<T, V>, as: Field<V>, sign: number): Folding<T, V> {
  const codec = ValueCodec.ofField<V>(as)
  const isText = as.kind === 'string'
  const offer = (cells: Cells, at: number, value: V, place: ReturnType<typeof placeAt>): void => {
    if (!isEmpty(cells, at)) {
      const order = comparePlace(place, cells, at) || codec.compare(value, cells.held(at) as V)
      if (order * sign <= 0) return
    }
    setPlace(cells, at, place)
    // Bytes may be those of the record, which are gone with its batch.
    const own = isText ? value : codec.own(value)
    cells.hold(at, own, (own as string | Uint8Array).length * (isText ? 2 : 1))
  }
  return {
    cells: PLACE_CELLS,
    extract: () => NaN,
    keep: (value) => {
      const given = of(value)
      if (given === null || given === undefined) return undefined
      if (isText ? typeof given === 'string' : (given as unknown) instanceof Uint8Array) return given
      throw new AggregateError(kind, given, isText ? 'text or null' : 'bytes or null')
    },
    add: (cells, at, _, kept, place) => {
      if (kept !== undefined) offer(cells, at, kept as V, place)
    },
    merge: (cells, at, others, from) => {
      if (!isEmpty(others, from)) offer(cells, at, others.held(from) as V, placeAt(others, from))
    },
    write: (writer, cells, at) => {
      writePlace(writer, cells, at)
      if (!isEmpty(cells, at)) codec.write(writer, cells.held(at) as V)
    },
    read: (reader, cells, at) => {
      readPlace(reader, cells, at)
      if (isEmpty(cells, at)) return
      const from = reader.position
      const value = codec.read(reader)
      cells.hold(at, value, (reader.position - from) * (isText ? 2 : 1))
    },
    result: (cells, at) => (isEmpty(cells, at) ? null : (cells.held(at) as V)),
  }
}
