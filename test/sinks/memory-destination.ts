import { STRIDE, VALUE_END, VALUE_START } from '../../log/batch.ts'
import { HEADER_BYTES } from '../../schemas/wire.ts'
import {
  RowsRefused,
  SinkError,
  type Assignment,
  type Position,
  type Recovered,
  type RefusedRow,
  type RowBatch,
  type Sink,
} from '../../sinks/port.ts'

type Row = Record<string, unknown>

/** A destination in memory that keeps rows and positions together, as the port asks. Survives its sinks. */
export class MemoryDestination {
  readonly rows: (Row & { readonly partition: number })[] = []
  readonly positions = new Map<string, Position>()

  sink(options: Partial<MemorySinkOptions> = {}): MemorySink {
    return new MemorySink(this, options)
  }

  positionOf({ topic, partition }: Pick<Assignment, 'topic' | 'partition'>): Position | null {
    return this.positions.get(`${topic}/${partition}`) ?? null
  }
}

export interface MemorySinkOptions {
  readonly keepsPositions: boolean
  readonly maxWritesInFlight: number
  readonly refuses: (row: Row) => boolean
  /** Before anything is written. */
  readonly before: (batch: RowBatch) => Promise<void>
  /** When it is written. */
  readonly after: (batch: RowBatch) => Promise<void>
  readonly recovered: (assigned: readonly Assignment[]) => Promise<string | null>
  readonly noteOf: (batch: RowBatch) => string | null
}

export class MemorySink implements Sink {
  readonly destination = 'data.things'
  readonly keepsPositions: boolean
  readonly maxWritesInFlight: number
  readonly batches: RowBatch[] = []
  readonly #destination: MemoryDestination
  readonly #options: Partial<MemorySinkOptions>

  constructor(destination: MemoryDestination, options: Partial<MemorySinkOptions>) {
    this.#destination = destination
    this.#options = options
    this.keepsPositions = options.keepsPositions ?? true
    this.maxWritesInFlight = options.maxWritesInFlight ?? 1
  }

  prepare(): Promise<readonly string[]> {
    return Promise.resolve([])
  }

  async recover(assigned: readonly Assignment[]): Promise<Recovered[]> {
    const note = (await this.#options.recovered?.(assigned)) ?? null
    return assigned.map((assignment) => ({ position: this.#destination.positionOf(assignment), note }))
  }

  async write(batch: RowBatch): Promise<string | null> {
    this.batches.push(batch)
    await this.#options.before?.(batch)
    const rows = rowsOf(batch)
    const refused: RefusedRow[] = []
    for (const [index, row] of rows.entries()) {
      if (this.#options.refuses?.(row) === true) refused.push({ index, reason: 'not wanted', field: 'id' })
    }
    if (refused.length > 0) throw new RowsRefused(this.destination, refused)
    if (this.keepsPositions && (this.#destination.positionOf(batch)?.next ?? null) !== batch.base) {
      throw new SinkError('STALE_POSITION', 'somebody else has written')
    }
    for (const row of rows) this.#destination.rows.push({ ...row, partition: batch.partition })
    const { topic, partition, next, incarnation } = batch
    this.#destination.positions.set(`${topic}/${partition}`, { next, incarnation })
    await this.#options.after?.(batch)
    return this.#options.noteOf?.(batch) ?? null
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

function rowsOf({ spans }: RowBatch): Row[] {
  return spans.flatMap(({ records, schema, indexes, count }) =>
    Array.from(indexes.subarray(0, count), (index) => {
      const row = index * STRIDE
      const start = records.positions[row + VALUE_START]! + HEADER_BYTES
      return schema.decode(records.buffer, start, records.positions[row + VALUE_END]!)
    }),
  )
}
