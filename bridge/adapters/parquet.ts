import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBResult,
  type DuckDBValue,
} from '@duckdb/node-api'
import { stat } from 'node:fs/promises'
import type { FieldDefinition } from '../../schemas/fields.ts'
import { SourceError } from '../errors.ts'
import { openBytes } from '../files/byte-input.ts'
import type { Cursor, CursorOptions } from '../files/cursor.ts'
import { PrefixReader } from '../files/file-record.ts'
import { shownPath } from '../files/paths.ts'
import type { PrefixHash } from '../files/prefix-hash.ts'
import { RowOrigin } from '../files/row-origin.ts'
import type { RecordSink } from '../reader.ts'
import { checkColumns } from './columns.ts'
import type { ContainerFormat } from './format.ts'

/** Parquet, by DuckDB: rows in their order, those columns that the contract has. */
export const parquet: ContainerFormat = {
  kind: 'container',
  name: 'parquet',
  description: 'Parquet',
  open: openParquet,
}

/**
 * One thread keeps the rows' order. What DuckDB reads ahead is lost to an error behind it, and a row group that
 * does not fit into the memory is refused.
 */
const DUCKDB_OPTIONS = { threads: '1', memory_limit: '256MB' }
const DAY_MS = 86_400_000

async function openParquet(options: CursorOptions): Promise<Cursor> {
  const { path, fields, lines, prefix } = options
  const { size } = await stat(path)
  if (prefix.length > 0 && size !== prefix.length) throw changed(path, prefix.length, size)
  const instance = await DuckDBInstance.create(':memory:', DUCKDB_OPTIONS)
  try {
    const connection = await instance.connect()
    await connection.run("set streaming_buffer_size = '64KB'")
    const file = { path: escapedPattern(path) }
    const all = (await connection.stream('from read_parquet($path) limit 0', file)).columnNames()
    checkColumns(path, all, fields)
    const counted = await connection.runAndReadAll(
      'select sum(num_rows)::bigint from parquet_file_metadata($path)',
      file,
    )
    const columns = wanted(all, fields)
    const read = connection.stream(
      `select ${columns.map(quoted).join(', ')} from read_parquet($path, file_row_number = true)
        where file_row_number >= $row`,
      { ...file, row: BigInt(lines) },
    )
    // It begins to read here: what is wrong behind a sound footer is damage, and ends this file alone.
    const result = await read.catch((error: unknown) => firstLine(error))
    const rows = Number(counted.getRows()[0]![0])
    return new ParquetCursor(options, { instance, result, columns, rows, size })
  } catch (error) {
    instance.closeSync()
    if (error instanceof SourceError) throw error
    throw new SourceError(
      'FILE_FORMAT',
      `${shownPath(path)} cannot be read as Parquet (${firstLine(error)}): write it anew, or name its format ` +
        `with --format.`,
      { cause: error },
    )
  }
}

interface OpenFile {
  readonly instance: DuckDBInstance
  /** Or what is wrong with the rows. */
  readonly result: DuckDBResult | string
  readonly columns: readonly string[]
  readonly rows: number
  readonly size: number
}

class ParquetCursor implements Cursor {
  readonly state = null
  readonly isGzip = false
  readonly #options: CursorOptions
  readonly #file: OpenFile
  readonly #origin: RowOrigin
  readonly #bytesEach: number
  /** Of the whole file, since the position within is a row's number; taken when its reading begins. */
  #prefix: PrefixHash
  #row: number
  #damage: string | null = null

  constructor(options: CursorOptions, file: OpenFile) {
    this.#options = options
    this.#prefix = options.prefix
    this.#file = file
    this.#row = options.lines
    this.#bytesEach = Math.ceil(file.size / Math.max(1, file.rows))
    this.#origin = new RowOrigin(options.path, options.fileTimeMs)
  }

  get prefix(): PrefixHash {
    return this.#prefix
  }

  get lines(): number {
    return this.#row
  }

  get isDrained(): boolean {
    return this.#row >= this.#file.rows
  }

  get consumed(): number {
    return this.isDrained
      ? this.prefix.length
      : Math.floor((this.prefix.length * this.#row) / this.#file.rows)
  }

  get damage(): string | null {
    return this.#damage
  }

  async read(sink: RecordSink): Promise<boolean> {
    const { result, columns } = this.#file
    const { path, limits } = this.#options
    if (this.#prefix.length === 0) this.#prefix = await hashOf(path, limits.chunkBytes)
    let values: readonly (readonly DuckDBValue[])[]
    if (typeof result === 'string') {
      this.#damage = result
      return false
    }
    try {
      const chunk = await result.fetchChunk()
      if (chunk === null || chunk.rowCount === 0) {
        // An error in the middle may look like the end.
        if (!this.isDrained) this.#damage = `row ${this.#row + 1} of ${this.#file.rows} cannot be read`
        return false
      }
      values = chunk.getRows()
    } catch (error) {
      this.#damage = firstLine(error)
      return false
    }
    for (const cells of values) {
      const row: Record<string, unknown> = {}
      for (let i = 0; i < columns.length; i++) row[columns[i]!] = valueOf(cells[i]!)
      // A copy, since the contract casts in place.
      sink.value({ ...row }, this.#origin.at(row, this.#row, this.#row + 1, this.#bytesEach))
      this.#row++
    }
    return true
  }

  finish(): number {
    return 0
  }

  async close(): Promise<void> {
    this.#file.instance.closeSync()
  }
}

/** What a value of DuckDB is to a contract: times as epoch milliseconds, exact numbers as doubles. */
function valueOf(value: DuckDBValue): unknown {
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? Number(value) : value
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue) {
    return Number(value.micros) / 1_000
  }
  if (value instanceof DuckDBTimestampNanosecondsValue) return Number(value.nanos / 1_000n) / 1_000
  if (value instanceof DuckDBTimestampMillisecondsValue) return Number(value.millis)
  if (value instanceof DuckDBTimestampSecondsValue) return Number(value.seconds) * 1_000
  if (value instanceof DuckDBDateValue) return value.days * DAY_MS
  if (value instanceof DuckDBDecimalValue) return Number(`${value.value}e-${value.scale}`)
  if (value instanceof DuckDBBlobValue) return value.bytes
  // UUIDs, intervals and nested values as DuckDB writes them.
  return value.toString()
}

/** The columns that the contract has; all where it is not known, or has none of them. */
function wanted(columns: readonly string[], fields: readonly FieldDefinition[]): readonly string[] {
  const known = columns.filter((column) => fields.some(({ name }) => name === column))
  return known.length === 0 ? columns : known
}

async function hashOf(path: string, chunkBytes: number): Promise<PrefixHash> {
  const input = await openBytes(path, 0)
  try {
    const reader = new PrefixReader(input, Infinity, Infinity, chunkBytes)
    while (await reader.step());
    return reader.prefix
  } finally {
    await input.close()
  }
}

function changed(path: string, known: number, size: number): SourceError {
  return new SourceError(
    'FILE_CHANGED',
    `${shownPath(path)} had ${known} bytes when its reading began, and has ${size} now. Parquet cannot be ` +
      `appended to: give the new content under another path, it is then read from its beginning.`,
  )
}

/** DuckDB takes a name for a pattern. */
function escapedPattern(path: string): string {
  return path.replaceAll(/[*?[]/g, '[$&]')
}

function quoted(column: string): string {
  return `"${column.replaceAll('"', '""')}"`
}

function firstLine(error: unknown): string {
  return shownPath((error as Error).message.split('\n', 1)[0]!)
}
