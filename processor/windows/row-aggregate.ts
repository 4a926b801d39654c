import type { Row } from '../../schemas/schema.ts'
import type { Aggregate, AccumulatorReader, AccumulatorWriter, Place } from './aggregates.ts'
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
  readonly #kept: unknown[]
  /** The aggregates that take more than a number out of a value, and those that prepare what they add. */
  readonly #keeping: readonly number[]
  readonly #preparing: readonly number[]

  constructor(columns: Readonly<Record<string, Aggregate<never, unknown>>>) {
    this.columns = Object.entries(columns).flatMap(([name, aggregate]) => aggregate.columns ?? name)
    this.#aggregates = Object.values(columns) as unknown as Aggregate<unknown, unknown>[]
    this.#offsets = new Int32Array(this.#aggregates.length)
    let width = 0
    for (const [i, { cells }] of this.#aggregates.entries()) {
      this.#offsets[i] = width
      width += cells
    }
    this.width = width
    this.#extracted = new Float64Array(this.#aggregates.length)
    this.#kept = this.#aggregates.map(() => undefined)
    this.#keeping = [...this.#aggregates.keys()].filter((i) => this.#aggregates[i]!.keep !== undefined)
    this.#preparing = [...this.#aggregates.keys()].filter((i) => this.#aggregates[i]!.prepare !== undefined)
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
    for (const i of this.#keeping) this.#kept[i] = this.#aggregates[i]!.keep!(value)
  }

  /**
   * Goes before `add` into the same row.
   * @throws AggregateError, or what the author's function throws; no column has moved
   */
  prepare(cells: Cells, at: number, place: Place): void {
    for (const i of this.#preparing) {
      const aggregate = this.#aggregates[i]!
      this.#kept[i] = aggregate.prepare!(cells, at + this.#offsets[i]!, this.#kept[i], place)
    }
  }

  /** Folds what was extracted last, and prepared, into the row at `at`. */
  add(cells: Cells, at: number, place: Place): void {
    for (let i = 0; i < this.#aggregates.length; i++) {
      this.#aggregates[i]!.add(cells, at + this.#offsets[i]!, this.#extracted[i]!, this.#kept[i], place)
    }
  }

  /** @throws what a function of the author's throws */
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
    let column = from
    for (let i = 0; i < this.#aggregates.length; i++) {
      const { columns } = this.#aggregates[i]!
      const result = this.#aggregates[i]!.result(cells, at + this.#offsets[i]!)
      if (columns === undefined) values[column++] = result
      else for (const name of columns) values[column++] = (result as Row | null)?.[name] ?? null
    }
  }
}
