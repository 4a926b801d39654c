import type { Aggregate, AccumulatorReader, AccumulatorWriter } from './aggregates.ts'

/** What a window holds for one key: one accumulator a column, in the columns' order. */
export type Accumulators = unknown[]

/** The columns of one `aggregate(...)`, folded together. */
export class RowAggregate {
  readonly columns: readonly string[]
  readonly #aggregates: readonly Aggregate<unknown, unknown>[]
  readonly #extracted: (number | null)[] = []

  constructor(columns: Readonly<Record<string, Aggregate<never, unknown>>>) {
    this.columns = Object.keys(columns)
    this.#aggregates = Object.values(columns) as unknown as Aggregate<unknown, unknown>[]
  }

  create(): Accumulators {
    return this.#aggregates.map((aggregate) => aggregate.create())
  }

  /**
   * Takes what the columns need out of a value, for `add`: a value that one of them refuses is
   * refused before any has moved.
   */
  extract(value: unknown): void {
    for (let i = 0; i < this.#aggregates.length; i++) this.#extracted[i] = this.#aggregates[i]!.extract(value)
  }

  /** Folds in what was extracted last. */
  add(accumulators: Accumulators): void {
    for (let i = 0; i < accumulators.length; i++) {
      this.#aggregates[i]!.add(accumulators[i], this.#extracted[i]!)
    }
  }

  merge(accumulators: Accumulators, other: Accumulators): void {
    for (let i = 0; i < accumulators.length; i++) this.#aggregates[i]!.merge(accumulators[i], other[i])
  }

  write(writer: AccumulatorWriter, accumulators: Accumulators): void {
    for (let i = 0; i < accumulators.length; i++) this.#aggregates[i]!.write(writer, accumulators[i])
  }

  read(reader: AccumulatorReader): Accumulators {
    return this.#aggregates.map((aggregate) => aggregate.read(reader))
  }

  /** Puts each column's result into `row`. */
  results(accumulators: Accumulators, row: Record<string, unknown>): void {
    for (let i = 0; i < accumulators.length; i++) {
      row[this.columns[i]!] = this.#aggregates[i]!.result(accumulators[i])
    }
  }
}
