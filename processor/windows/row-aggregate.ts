import type { Aggregate, AccumulatorReader, AccumulatorWriter } from './aggregates.ts'
import { Cells } from './cells.ts'

/** The columns of one `aggregate(...)`, folded together: their accumulators lie behind one another. */
export class RowAggregate {
  readonly columns: readonly string[]
  /** Cells of a row. */
  readonly width: number
  readonly #aggregates: readonly Aggregate<unknown, unknown>[]
  /** Where each column's accumulator begins in a row. */
  readonly #offsets: Int32Array
  readonly #extracted: Float64Array

  constructor(columns: Readonly<Record<string, Aggregate<never, unknown>>>) {
    this.columns = Object.keys(columns)
    this.#aggregates = Object.values(columns) as unknown as Aggregate<unknown, unknown>[]
    this.#offsets = new Int32Array(this.#aggregates.length)
    let width = 0
    for (const [i, { cells }] of this.#aggregates.entries()) {
      this.#offsets[i] = width
      width += cells
    }
    this.width = width
    this.#extracted = new Float64Array(this.#aggregates.length)
  }

  /** Cells of one row, clear. */
  newRow(): Cells {
    return new Cells(this.width)
  }

  /**
   * Takes what the columns need out of a value, for `add`: a value that one of them refuses is
   * refused before any has moved.
   */
  extract(value: unknown): void {
    for (let i = 0; i < this.#aggregates.length; i++) this.#extracted[i] = this.#aggregates[i]!.extract(value)
  }

  /** Folds what was extracted last into the row at `at`. */
  add(cells: Cells, at: number): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      this.#aggregates[i]!.add(cells, at + this.#offsets[i]!, this.#extracted[i]!)
    }
  }

  merge(cells: Cells, at: number, others: Cells, from: number): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      const offset = this.#offsets[i]!
      this.#aggregates[i]!.merge(cells, at + offset, others, from + offset)
    }
  }

  write(writer: AccumulatorWriter, cells: Cells, at: number): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      this.#aggregates[i]!.write(writer, cells, at + this.#offsets[i]!)
    }
  }

  /** Into a row that is clear. */
  read(reader: AccumulatorReader, cells: Cells, at: number): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      this.#aggregates[i]!.read(reader, cells, at + this.#offsets[i]!)
    }
  }

  /** Puts each column's result into `values`, from index `from` on. */
  results(cells: Cells, at: number, values: unknown[], from: number): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      values[from + i] = this.#aggregates[i]!.result(cells, at + this.#offsets[i]!)
    }
  }
}
