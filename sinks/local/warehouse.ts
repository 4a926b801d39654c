import { dirname } from 'node:path'
import type { TableDefinition } from '../../schemas/destinations.ts'
import { SinkError, type Sink } from '../port.ts'
import { sinkErrorOf, WarehouseError } from './errors.ts'
import { LocalSink } from './local-sink.ts'
import { runQuery, type QueryOptions, type QueryResult } from './query.ts'
import { QueryServer } from './query-server.ts'
import { Session, type SessionOptions } from './session.ts'

export interface WarehouseOptions {
  /** The DuckDB file; its directory has to be there. */
  readonly path: string
  /** DuckDB's own buffers. Default 256. */
  readonly memoryLimitMb?: number
  /** Default 1: more take more CPU for the same appends. */
  readonly threads?: number
  /** How large the write-ahead log may become before it is worked into the file. Default 64. */
  readonly checkpointMb?: number
  /** How long another process may keep the file before that is an error. Default 5,000. */
  readonly lockWaitMs?: number
}

/** The file's name in a data directory. */
export const WAREHOUSE_FILE = 'warehouse.duckdb'

/** What a transaction may hold beside the first of its works. */
const MAX_GROUP_BYTES = 16 * 2 ** 20

/** After one of these DuckDB refuses everything until the file is opened again. */
const BROKEN = /FATAL|INTERNAL|invalidated/

interface Work {
  readonly bytes: number
  /** Gets a transaction of its own. */
  readonly alone: boolean
  run(session: Session): Promise<void>
  resolve(): void
  reject(error: unknown): void
}

/**
 * Opens the file, creating it if needed, and answers queries of other processes on a socket in its directory.
 * @throws WarehouseError WAREHOUSE_IN_USE, WAREHOUSE_DAMAGED, WAREHOUSE_UNUSABLE
 */
export function openWarehouse(options: WarehouseOptions): Promise<Warehouse> {
  const { path, memoryLimitMb = 256, threads = 1, checkpointMb = 64, lockWaitMs = 5_000 } = options
  return Warehouse.open({ path, memoryLimitMb, threads, checkpointMb, lockWaitMs })
}

/**
 * One DuckDB file with all the tables of a process. Its sinks share one connection that writes: what several of
 * them have ready while a commit is under way goes into the next one together, so that they share its flush.
 */
export class Warehouse {
  readonly path: string
  readonly #options: SessionOptions
  readonly #queue: Work[] = []
  #session: Promise<Session> | null
  #server: QueryServer | null = null
  #working: Promise<void> | null = null
  #closed = false

  private constructor(options: SessionOptions, session: Session) {
    this.path = options.path
    this.#options = options
    this.#session = Promise.resolve(session)
  }

  /** Use {@link openWarehouse}. */
  static async open(options: SessionOptions): Promise<Warehouse> {
    const warehouse = new Warehouse(options, await Session.open(options))
    try {
      await warehouse.transaction({ bytes: 0, alone: true }, createPositions)
      const query = warehouse.query.bind(warehouse)
      warehouse.#server = await QueryServer.start({ directory: dirname(options.path), query })
    } catch (error) {
      await warehouse.close()
      throw error
    }
    return warehouse
  }

  /** The sink of one table. One runner at a time may write through it. */
  sink(table: TableDefinition): Sink {
    return new LocalSink(this, table)
  }

  /**
   * Runs `work` within a transaction that it may share with others, and resolves when that is durable. What it
   * throws before it has changed anything (SinkError STALE_POSITION) concerns it alone.
   * @throws SinkError UNAVAILABLE when the transaction was rolled back, or its outcome is unknown
   */
  transaction<T>(
    { bytes, alone = false }: { readonly bytes: number; readonly alone?: boolean },
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new SinkError('UNUSABLE', `${this.path} was closed.`))
        return
      }
      let result: T
      this.#queue.push({
        bytes,
        alone,
        run: async (session) => {
          result = await work(session)
        },
        resolve: () => resolve(result),
        reject,
      })
      this.#working ??= this.#work()
    })
  }

  /** Answers a query that only reads. @throws WarehouseError NOT_A_QUERY, BAD_QUERY, QUERY_TOO_LARGE */
  async query(sql: string, options: QueryOptions): Promise<QueryResult> {
    if (this.#closed) throw new WarehouseError('NO_ANSWER', `${this.path} was closed.`)
    const session = await this.#opened()
    return await session.reading((connection) => runQuery(connection, sql, options))
  }

  /** Finishes what was asked for, works the write-ahead log into the file and lets go of it. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#server?.close()
    await this.#working
    const session = await this.#session?.catch(() => null)
    this.#session = null
    // Where this fails, the next opening reads the write-ahead log instead.
    await session?.connection.run('CHECKPOINT').catch(() => undefined)
    await session?.close()
  }

  #opened(): Promise<Session> {
    if (this.#session === null) {
      const opening = Session.open(this.#options)
      opening.catch(() => (this.#session = null))
      this.#session = opening
    }
    return this.#session
  }

  async #work(): Promise<void> {
    // The others that are about to ask in this turn come along.
    await Promise.resolve()
    while (this.#queue.length > 0) await this.#commitTogether(this.#nextGroup())
    // In the same turn as the last look at the queue, or what comes in between would never be started.
    this.#working = null
  }

  #nextGroup(): Work[] {
    const group = [this.#queue.shift()!]
    let { bytes } = group[0]!
    for (
      let next = this.#queue[0];
      next !== undefined && !group[0]!.alone && !next.alone;
      next = this.#queue[0]
    ) {
      bytes += next.bytes
      if (bytes > MAX_GROUP_BYTES) break
      group.push(this.#queue.shift()!)
    }
    return group
  }

  async #commitTogether(group: readonly Work[]): Promise<void> {
    let current: Work | null = null
    let session: Session | null = null
    const done: Work[] = []
    try {
      session = await this.#opened()
      await session.connection.run('BEGIN TRANSACTION')
      for (const work of group) {
        current = work
        try {
          await work.run(session)
          done.push(work)
        } catch (error) {
          if (!(error instanceof SinkError && error.code === 'STALE_POSITION')) throw error
          work.reject(error)
        }
      }
      current = null
      await session.connection.run('COMMIT')
    } catch (error) {
      await this.#rollBack(session, error as Error)
      for (const work of group) work.reject(this.#errorFor(work === current || current === null, error))
      return
    }
    for (const work of done) work.resolve()
  }

  /** What is wrong with one work is for the others a reason to try again. */
  #errorFor(isItsOwn: boolean, error: unknown): unknown {
    if (isItsOwn) return sinkErrorOf(this.path, error)
    const { message } = error as Error
    return new SinkError('UNAVAILABLE', `${this.path}: a transaction was rolled back: ${message}`, {
      cause: error,
    })
  }

  async #rollBack(session: Session | null, error: Error): Promise<void> {
    if (session === null) return
    session.dropAppenders()
    // A commit that failed has ended the transaction already, which this says again.
    const second = await session.connection.run('ROLLBACK').then(
      () => '',
      (failure: unknown) => (failure as Error).message,
    )
    const isEnded = second === '' || /no transaction is active/.test(second)
    if (isEnded && !BROKEN.test(error.message)) return
    // The instance is of no use any more: the next transaction opens the file again, which reads what is durable.
    this.#session = null
    await session.close()
  }
}

/** Where each destination stands, moved in the transactions that write its rows. */
async function createPositions({ connection }: Session): Promise<void> {
  await connection.run('CREATE SCHEMA IF NOT EXISTS _millrace')
  await connection.run(
    `CREATE TABLE IF NOT EXISTS _millrace.positions (
       destination VARCHAR NOT NULL, topic VARCHAR NOT NULL, "partition" INTEGER NOT NULL,
       incarnation VARCHAR NOT NULL, next_offset BIGINT NOT NULL)`,
  )
}
