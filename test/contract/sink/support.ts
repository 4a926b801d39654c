import type { TableDefinition } from '../../../schemas/destinations.ts'
import type { RowBatch, Sink } from '../../../sinks/port.ts'

/** A destination as the suite needs it: places for tables, and a way to read them back. */
export interface DestinationUnderTest {
  /** Another sink of the table, as another process or a restarted one would make it. */
  sink(table: TableDefinition): Sink
  /**
   * The rows of a table, one partition's in the order written. Numbers as numbers, times as epoch
   * milliseconds, bytes as Uint8Array.
   */
  rows(table: TableDefinition): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}
/** A sink with something between it and its runner: what it is given, and failures before and after. */
export class Interposed implements Sink {
  readonly destination: string
  readonly keepsPositions: boolean
  readonly maxWritesInFlight: number
  readonly batches: RowBatch[] = []
  /** Positions that became durable. */
  readonly written: number[] = []
  before: () => Promise<void> = () => Promise.resolve()
  after: () => Promise<void> = () => Promise.resolve()
  failed: (error: unknown) => void = () => undefined
  readonly #sink: Sink

  constructor(sink: Sink) {
    this.#sink = sink
    this.destination = sink.destination
    this.keepsPositions = sink.keepsPositions
    this.maxWritesInFlight = sink.maxWritesInFlight
  }

  prepare: Sink['prepare'] = () => this.#sink.prepare()
  recover: Sink['recover'] = (assigned) => this.#sink.recover(assigned)
  close: Sink['close'] = () => this.#sink.close()

  async write(batch: RowBatch): Promise<string | null> {
    this.batches.push(batch)
    await this.before()
    try {
      const note = await this.#sink.write(batch)
      this.written.push(batch.next)
      await this.after()
      return note
    } catch (error) {
      this.failed(error)
      throw error
    }
  }
}
