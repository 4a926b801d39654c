import { optional, type Field, type Schema } from '../../schemas/schema.ts'
import { AggregateError, type Aggregate, type Place } from './aggregates.ts'
import type { Cells } from './cells.ts'
import { comparePlaces, isEmpty, PLACE_CELLS, placeAt, readPlace, setPlace, writePlace } from './places.ts'
import { ValueCodec } from './values.ts'

/**
 * All non-null values as one, two at a time, by a function of yours; null where there is none.
 *
 * The function is called with the earlier of the two first (in the order of {@link first}), and with what it gave
 * before: never in a set order or grouping, since records come through several tasks. So it has to be associative,
 * and either commutative (the greatest of two, a product of integers) or one that gives back one of its two
 * arguments as it is (the later one, the one with the greater amount): then ties, too, end the same way every time.
 * It must not change its arguments. Where it throws, the record becomes a dead letter.
 * @param as what both functions give: `reduce((o) => o.amount, Math.max, double())`
 */
export function reduce<T, V>(
  of: (value: T) => NoInfer<V> | null | undefined,
  combine: (a: V, b: V) => NoInfer<V>,
  as: Field<V>,
): Aggregate<T, V | null> {
  const kind = `reduce ${as.kind}`
  const codec = ValueCodec.ofField<V>(as)
  const own = (value: V): V => {
    if (as.kind === 'double' && !Number.isFinite(value)) {
      throw new AggregateError(kind, value, 'a finite number or null')
    }
    return codec.own(value)
  }
  return { kind, field: optional(as), ...reducing(of, combine, codec, own) }
}

/** As {@link reduce}, over rows of a schema: a column of the result for each of its fields. */
export function reduceRows<T, R>(
  of: (value: T) => R,
  combine: (a: R, b: R) => R,
  as: Schema<R>,
): Aggregate<T, R | null> {
  const codec = ValueCodec.ofRow(as)
  return {
    kind: `reduce ${as.avroText}`,
    // Its columns stand in the place of one field.
    field: as.fields[0]! as Field as Field<never>,
    columns: as.fields.map(({ name }) => name),
    ...reducing(of, combine, codec, (value) => codec.own(value)),
  }
}

/**
 * A value, and whose it is. Equal texts or numbers cannot be told apart: of those that were reduced to one, the
 * first and the last place.
 */
interface Reduced<V> {
  readonly value: V
  readonly from: Place
  readonly to: Place
}

const TO = PLACE_CELLS
const CELLS = 2 * PLACE_CELLS

/** Two places, and beside the cells the value. */
function reducing<T, V>(
  of: (value: T) => V | null | undefined,
  combine: (a: V, b: V) => V,
  codec: ValueCodec<V>,
  own: (value: V) => V,
): Omit<Aggregate<T, V | null>, 'kind' | 'field'> {
  const reducedAt = (cells: Cells, at: number): Reduced<V> => ({
    value: cells.held(at) as V,
    from: placeAt(cells, at),
    to: placeAt(cells, at + TO),
  })
  const join = (one: Reduced<V>, other: Reduced<V>): Reduced<V> => {
    const [first, ...others] = inOrder(one, other, codec)
    const value = others.reduce((result, { value: next }) => combine(result, next), first!.value)
    if (value === one.value && value === other.value) {
      return {
        value,
        from: earlier(one.from, other.from),
        to: one.to === earlier(one.to, other.to) ? other.to : one.to,
      }
    }
    if (value === one.value) return one
    if (value === other.value) return other
    return { value: own(value), from: first!.from, to: first!.from }
  }
  const put = (cells: Cells, at: number, { value, from, to }: Reduced<V>): void => {
    setPlace(cells, at, from)
    setPlace(cells, at + TO, to)
    cells.hold(at, value, codec.byteLength(value))
  }
  return {
    cells: CELLS,
    needsPlaces: true,
    extract: () => NaN,
    keep: (value) => {
      const given = of(value)
      return given === null || given === undefined ? undefined : own(given)
    },
    prepare: (cells, at, kept, place) => {
      if (kept === undefined) return null
      const added = { value: kept as V, from: place, to: place }
      return isEmpty(cells, at) ? added : join(reducedAt(cells, at), added)
    },
    add: (cells, at, _, prepared) => {
      if (prepared !== null) put(cells, at, prepared as Reduced<V>)
    },
    merge: (cells, at, others, from) => {
      if (isEmpty(others, from)) return
      const other = reducedAt(others, from)
      put(cells, at, isEmpty(cells, at) ? other : join(reducedAt(cells, at), other))
    },
    write: (writer, cells, at) => {
      writePlace(writer, cells, at)
      writePlace(writer, cells, at + TO)
      if (!isEmpty(cells, at)) codec.write(writer, cells.held(at) as V)
    },
    read: (reader, cells, at) => {
      readPlace(reader, cells, at)
      readPlace(reader, cells, at + TO)
      if (isEmpty(cells, at)) return
      const from = reader.position
      const value = codec.read(reader)
      cells.hold(at, value, reader.position - from)
    },
    result: (cells, at) => (isEmpty(cells, at) ? null : (cells.held(at) as V)),
  }
}

/**
 * Two as the function is to be given them: a then b, or, where b lies within a, a, b and a again. That changes
 * nothing for a commutative function, which has made one of two equal values already, and is what one that prefers
 * the first or the last would have met.
 */
function inOrder<V>(one: Reduced<V>, other: Reduced<V>, codec: ValueCodec<V>): Reduced<V>[] {
  if (comparePlaces(one.to, other.from) < 0) return [one, other]
  if (comparePlaces(other.to, one.from) < 0) return [other, one]
  const ends = [one, other].flatMap((reduced) => [
    { reduced, place: reduced.from },
    { reduced, place: reduced.to },
  ])
  ends.sort((a, b) => comparePlaces(a.place, b.place) || codec.compare(a.reduced.value, b.reduced.value))
  return ends.map(({ reduced }) => reduced).filter((reduced, i, all) => reduced !== all[i - 1])
}

function earlier(one: Place, other: Place): Place {
  return comparePlaces(one, other) <= 0 ? one : other
}
