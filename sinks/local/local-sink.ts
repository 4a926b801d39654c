import { BIGINT, INTEGER, VARCHAR, type DuckDBDataChunk } from '@duckdb/node-api'
import type { TableDefinition } from '../../schemas/destinations.ts'
import { RowsRefused, SinkError, type Assignment, type Recovered, type RowBatch, type Sink } from '../port.ts'
import { ChunkBuilder } from './columns.ts'
import type { Session } from './session.ts'
import { prepareTable } from './table.ts'
import { quotedName } from './types.ts'
import { Upsert } from './upsert.ts'
import type { Warehouse } from './warehouse.ts'

const INSERT_POSITION = `
  INSERT INTO _millrace.positions
  SELECT $destination, $topic, $partition, $incarnation, $next
  WHERE NOT EXISTS (
    FROM _millrace.positions WHERE destination = $destination AND topic = $topic AND "partition" = $partition)`

const MOVE_POSITION = `
  UPDATE _millrace.positions SET next_offset = $next
  WHERE destination = $destination AND topic = $topic AND "partition" = $partition
    AND incarnation = $incarnation AND next_offset = $base`

const READ_POSITIONS = `
  SELECT topic, "partition", incarnation, next_offset FROM _millrace.positions WHERE destination = $destination`

/** One table of a warehouse: rows and position move in one transaction. */
export class LocalSink implements Sink {
  readonly destination: string
  readonly keepsPositions = true
  /** Several would wait for the one connection that writes. */
  readonly maxWritesInFlight = 1
  readonly #warehouse: Warehouse
  readonly #table: TableDefinition
  #builder: ChunkBuilder | null = null
  /** Where rows replace each other; else they are appended. */
  #upsert: Upsert | null = null

  constructor(warehouse: Warehouse, table: TableDefinition) {
    this.destination = table.name
    this.#warehouse = warehouse
    this.#table = table
  }

  async prepare(): Promise<readonly string[]> {
    const work = { bytes: 0, alone: true }
    const { name, key } = this.#table
    const { columns, layout, changes } = await this.#warehouse.transaction(work, async (session) => {
      const prepared = await prepareTable(session.connection, this.#table)
      session.dropAppender(this.#table.name)
      return prepared
    })
    const types = await this.#warehouse.transaction(work, async (session) => {
      const appender = await session.appender(this.#table.name)
      return layout.map((_, index) => appender.columnType(index))
    })
    this.#builder = new ChunkBuilder(name, layout, types)
    if (key !== undefined) this.#upsert = new Upsert(name, columns, layout, key)
    return changes
  }

  async recover(assigned: readonly Assignment[]): Promise<Recovered[]> {
    const rows = await this.#warehouse.transaction({ bytes: 0 }, async ({ connection }) => {
      const result = await connection.runAndReadAll(READ_POSITIONS, { destination: this.destination })
      return result.getRows()
    })
    return assigned.map(({ topic, partition }) => {
      const row = rows.find(([t, p]) => t === topic && p === partition)
      const position = row === undefined ? null : { incarnation: row[2] as string, next: Number(row[3]) }
      return { position, note: null }
    })
  }

  async write(batch: RowBatch): Promise<null> {
    const builder = this.#builder
    if (builder === null)
      throw new SinkError('UNUSABLE', `${this.destination} is written before it is prepared.`)
    const { chunks, refused } = builder.build(batch)
    if (refused.length > 0) throw new RowsRefused(this.destination, refused)
    try {
      await this.#warehouse.transaction({ bytes: batch.bytes }, (session) =>
        this.#append(session, batch, chunks),
      )
    } finally {
      builder.recycle(chunks)
    }
    return null
  }

  async close(): Promise<void> {
    // The warehouse has the file; whoever opened that closes it.
  }

  async #append(session: Session, batch: RowBatch, chunks: readonly DuckDBDataChunk[]): Promise<void> {
    // The position first: where it is not what this write stands on, nothing is appended.
    await this.#movePosition(session, batch)
    if (chunks.length === 0) return
    if (this.#upsert !== null) {
      await this.#upsert.write(session, chunks)
      return
    }
    const appender = await session.appender(this.#table.name)
    for (const chunk of chunks) appender.appendDataChunk(chunk)
    appender.flushSync()
  }

  async #movePosition(
    session: Session,
    { topic, partition, incarnation, base, next }: RowBatch,
  ): Promise<void> {
    const statement = await session.statement(base === null ? INSERT_POSITION : MOVE_POSITION)
    const { destination } = this
    const values = { destination, topic, partition, incarnation, next: BigInt(next) }
    const types = {
      destination: VARCHAR,
      topic: VARCHAR,
      partition: INTEGER,
      incarnation: VARCHAR,
      next: BIGINT,
    }
    if (base === null) statement.bind(values, types)
    else statement.bind({ ...values, base: BigInt(base) }, { ...types, base: BIGINT })
    const { rowsChanged } = await statement.run()
    if (rowsChanged === 1) return
    throw new SinkError(
      'STALE_POSITION',
      `${quotedName(destination)} is not at offset ${base ?? 'nothing'} of ${topic}, partition ${partition}: ` +
        `somebody else has written it.`,
    )
  }
}
