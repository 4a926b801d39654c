import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  DuckDBInstance,
  type DuckDBAppender,
  type DuckDBConnection,
  type DuckDBPreparedStatement,
} from '@duckdb/node-api'
import { damagedFile, WarehouseError } from './errors.ts'
import { splitName } from './types.ts'

export interface SessionOptions {
  readonly path: string
  readonly memoryLimitMb: number
  readonly threads: number
  readonly checkpointMb: number
  /** How long another process may keep the file before that is an error. */
  readonly lockWaitMs: number
  readonly readOnly?: boolean
}

const LOCK_RETRY_MS = 100
/** What queries may put on disk when memory does not do. */
const MAX_SPILL = '4GB'

/** One opening of the file: an instance, the connection that writes, and what was made on it. */
export class Session {
  readonly connection: DuckDBConnection
  readonly #instance: DuckDBInstance
  readonly #appenders = new Map<string, DuckDBAppender>()
  readonly #statements = new Map<string, DuckDBPreparedStatement>()
  readonly #readers = new Map<DuckDBConnection, Promise<unknown>>()

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.connection = connection
  }

  /** @throws WarehouseError WAREHOUSE_IN_USE, WAREHOUSE_DAMAGED; DuckDB's own error for the rest */
  static async open(options: SessionOptions): Promise<Session> {
    const { path, memoryLimitMb, threads, checkpointMb, readOnly = false } = options
    const spill = `${path}.tmp`
    const instance = await openInstance(options, {
      memory_limit: `${memoryLimitMb}MB`,
      threads: String(threads),
      checkpoint_threshold: `${checkpointMb}MB`,
      temp_directory: spill,
      max_temp_directory_size: MAX_SPILL,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      ...(readOnly ? { access_mode: 'READ_ONLY' } : {}),
      // After temp_directory, which it would lock. Queries see this database and nothing else of the machine.
      enable_external_access: 'false',
    })
    // Left by a process that was killed; nobody else can have the file open for writing.
    if (!readOnly) rmSync(spill, { recursive: true, force: true })
    const connection = await instance.connect()
    // Tables hold UTC without a zone: what compares them with now() has to mean UTC too.
    await connection.run(`SET GLOBAL TimeZone = 'UTC'`)
    await connection.run('SET lock_configuration = true')
    return new Session(instance, connection)
  }

  /** The table's appender; what it is given belongs to the transaction that is open when it is flushed. */
  async appender(name: string): Promise<DuckDBAppender> {
    let appender = this.#appenders.get(name)
    if (appender === undefined) {
      const { schema, table } = splitName(name)
      appender = await this.connection.createAppender(table, schema)
      this.#appenders.set(name, appender)
    }
    return appender
  }

  /** The table has changed, or what was appended is given up: the next appender is a new one. */
  dropAppender(name: string): void {
    const appender = this.#appenders.get(name)
    this.#appenders.delete(name)
    if (appender === undefined) return
    attempt(() => appender.clear())
    attempt(() => appender.closeSync())
  }

  dropAppenders(): void {
    for (const name of [...this.#appenders.keys()]) this.dropAppender(name)
  }

  async statement(sql: string): Promise<DuckDBPreparedStatement> {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = await this.connection.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  /** Runs `read` on a connection of its own. */
  async reading<T>(read: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const connection = await this.#instance.connect()
    const reading = read(connection).finally(() => {
      this.#readers.delete(connection)
      connection.closeSync()
    })
    this.#readers.set(connection, reading)
    return await reading
  }

  /** Ends what is being read. Only when all connections are closed has the file been let go of. */
  async close(): Promise<void> {
    for (const reader of this.#readers.keys()) attempt(() => reader.interrupt())
    await Promise.allSettled(this.#readers.values())
    this.dropAppenders()
    for (const statement of this.#statements.values()) attempt(() => statement.destroySync())
    this.#statements.clear()
    attempt(() => this.connection.closeSync())
    attempt(() => this.#instance.closeSync())
  }
}

/** Of things that are given up: an appender of a database that is broken throws when it is closed. */
function attempt(action: () => void): void {
  try {
    action()
  } catch {
    // Nothing of it is used again.
  }
}

async function openInstance(
  { path, lockWaitMs }: SessionOptions,
  config: Record<string, string>,
): Promise<DuckDBInstance> {
  const deadline = performance.now() + lockWaitMs
  for (;;) {
    try {
      return await DuckDBInstance.create(path, config)
    } catch (error) {
      const { message } = error as Error
      const isLocked = /Could not set lock/.test(message)
      // A query that reads the file by itself holds it for a moment.
      if (isLocked && performance.now() < deadline) {
        await sleep(LOCK_RETRY_MS)
        continue
      }
      throw isLocked ? inUse(path, error as Error) : openError(path, error as Error)
    }
  }
}

function inUse(path: string, error: Error): WarehouseError {
  const pid = /PID (\d+)/.exec(error.message)?.[1]
  return new WarehouseError(
    'WAREHOUSE_IN_USE',
    `${path} is open in another process${pid === undefined ? '' : ` (pid ${pid})`}: one at a time can have it. ` +
      `Wait until that process ends, or end it.`,
    { cause: error },
  )
}

const DAMAGED =
  /not a valid DuckDB database|read enough bytes|corrupt|checksum|Serialization Error|INTERNAL Error|FATAL Error/i

function openError(path: string, error: Error): Error {
  if (!DAMAGED.test(error.message)) {
    return new WarehouseError('WAREHOUSE_UNUSABLE', `${path} cannot be opened: ${error.message}`, {
      cause: error,
    })
  }
  return damagedFile(path, error)
}
