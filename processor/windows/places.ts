import {
  readDouble,
  writeDouble,
  type AccumulatorReader,
  type AccumulatorWriter,
  type Place,
} from './aggregates.ts'
import type { Cells } from './cells.ts'

/** A place in cells: its origin + 1 (0: nothing was taken in), event time, offset, ordinal. */
export const PLACE_CELLS = 4

export function isEmpty({ numbers }: Cells, at: number): boolean {
  return numbers[at] === 0
}

export function setPlace({ numbers }: Cells, at: number, place: Place): void {
  numbers[at] = place.origin + 1
  numbers[at + 1] = place.eventTimeMs
  numbers[at + 2] = place.offset
  numbers[at + 3] = place.ordinal
}

export function placeAt({ numbers }: Cells, at: number): Place {
  return {
    origin: numbers[at]! - 1,
    eventTimeMs: numbers[at + 1]!,
    offset: numbers[at + 2]!,
    ordinal: numbers[at + 3]!,
  }
}

/** Negative, 0 or positive as a record stands before, at or behind the place in cells. */
export function comparePlace(place: Place, { numbers }: Cells, at: number): number {
  return (
    place.eventTimeMs - numbers[at + 1]! ||
    place.origin + 1 - numbers[at]! ||
    place.offset - numbers[at + 2]! ||
    place.ordinal - numbers[at + 3]!
  )
}

export function comparePlaces(one: Place, other: Place): number {
  return (
    one.eventTimeMs - other.eventTimeMs ||
    one.origin - other.origin ||
    one.offset - other.offset ||
    one.ordinal - other.ordinal
  )
}

export function writePlace(writer: AccumulatorWriter, { numbers }: Cells, at: number): void {
  for (let i = at; i < at + PLACE_CELLS; i++) writeDouble(writer, numbers[i]!)
}

export function readPlace(reader: AccumulatorReader, { numbers }: Cells, at: number): void {
  for (let i = at; i < at + PLACE_CELLS; i++) numbers[i] = readDouble(reader)
}
