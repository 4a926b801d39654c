/**
 * From Avro bytes to DuckDB's vectors: no object and no text per value on the way. A row's fields are located
 * once; then each column is filled in one loop, into arrays laid out as DuckDB has them, and copied over whole.
 *
 * A pure function of the record and the two schemas (design §9): the same record is refused, or becomes the
 * same row, every time.
 */
import { isUtf8 } from 'node:buffer'
import { DuckDBDataChunk, type DuckDBType } from '@duckdb/node-api'
import duckdb from '@duckdb/node-bindings'
import { STRIDE, VALUE_END, VALUE_START, type RecordBatch } from '../../log/batch.ts'
import { readDouble, readLong, readTimestamp } from '../../schemas/codec/bytes.ts'
import type { FieldDefinition, FieldKind, Schema, View } from '../../schemas/schema.ts'
import { HEADER_BYTES } from '../../schemas/wire.ts'
import type { RefusedRow, RowBatch } from '../port.ts'
import type { Layout } from './table.ts'

/** DuckDB's: a chunk has no more rows. */
const CHUNK_ROWS = 2_048

/** Shorter texts stand in the vector itself (`duckdb_string_t`), longer ones beside it. */
const INLINE_BYTES = 12
const STRING_BYTES = 16
const WIDTHS: Record<FieldKind, number> = {
  string: STRING_BYTES,
  bytes: STRING_BYTES,
  double: 8,
  long: 8,
  timestamp: 8,
  int: 4,
  boolean: 1,
}

/** One column's values as DuckDB lays them out. */
class Column {
  readonly definition: FieldDefinition
  readonly bytes: Uint8Array
  readonly ints: Int32Array
  readonly doubles: Float64Array
  /** One bit a row, 1 for a value. */
  readonly validity = new Uint8Array(CHUNK_ROWS / 8)
  hasNulls = false
  /** Rows whose text or bytes do not fit the vector: row, from, to. */
  readonly long: number[] = []

  constructor(definition: FieldDefinition) {
    this.definition = definition
    const data = new ArrayBuffer(CHUNK_ROWS * WIDTHS[definition.kind])
    this.bytes = new Uint8Array(data)
    this.ints = new Int32Array(data, 0, data.byteLength >> 2)
    this.doubles = new Float64Array(data, 0, data.byteLength >> 3)
  }

  clear(): void {
    if (this.hasNulls) this.validity.fill(0xff)
    this.hasNulls = false
    this.long.length = 0
  }

  setNull(row: number): void {
    if (!this.hasNulls) this.validity.fill(0xff)
    this.hasNulls = true
    this.validity[row >> 3]! &= ~(1 << (row & 7))
  }
}

/** How a table's column gets its values from records of one schema. */
interface Mapping {
  readonly column: Column | null
  /** The field's place in the record, or -1: the records have none. */
  readonly fieldIndex: number
  readonly field: FieldDefinition | null
}

interface Checked {
  readonly field: FieldDefinition
  readonly fieldIndex: number
  readonly nullFits: boolean
}

interface Reader {
  readonly view: View<unknown>
  readonly fields: readonly FieldDefinition[]
  readonly mappings: readonly Mapping[]
  /** Those whose values may not fit the column though their bytes are sound. */
  readonly checked: readonly Checked[]
  /** Why no record of this schema fits the table, or null. */
  readonly refusal: Omit<RefusedRow, 'index'> | null
}

/** Whose encoding reaches further than their type. */
const NUMBERS: ReadonlySet<FieldKind> = new Set<FieldKind>(['int', 'long', 'timestamp'])

/** What an int or long may also be read as; Avro's own promotions. */
const PROMOTIONS: Partial<Record<FieldKind, readonly FieldKind[]>> = {
  int: ['long', 'double'],
  long: ['double'],
}

/** Fills chunks of one table from batches of records. Chunks are reused: give them back by `recycle`. */
export class ChunkBuilder {
  readonly #table: string
  readonly #types: readonly DuckDBType[]
  /** In the table's order; null: a column that the pipeline does not know, and leaves null. */
  readonly #columns: readonly (Column | null)[]
  readonly #readers = new Map<Schema, Reader>()
  readonly #spare: DuckDBDataChunk[] = []
  /** Where each field of each staged row begins; a row has one more for the end. */
  #starts = new Int32Array(0)

  constructor(table: string, layout: Layout, types: readonly DuckDBType[]) {
    this.#table = table
    this.#types = types
    this.#columns = layout.map((field) => (field === null ? null : new Column(field)))
  }

  /** The batch as chunks, or the rows that do not fit the table. */
  build({ spans }: RowBatch): { chunks: DuckDBDataChunk[]; refused: RefusedRow[] } {
    const chunks: DuckDBDataChunk[] = []
    const refused: RefusedRow[] = []
    let before = 0
    for (const { records, schema, indexes, count } of spans) {
      const reader = this.#reader(schema)
      for (let from = 0; from < count; from += CHUNK_ROWS) {
        const rows = indexes.subarray(from, Math.min(from + CHUNK_ROWS, count))
        this.#stage(reader, records, rows, before + from, refused)
        // Once a row is refused nothing of the batch is written; the rest is looked at for further refusals.
        if (refused.length === 0) chunks.push(this.#fill(reader, records, rows))
      }
      before += count
    }
    if (refused.length > 0) this.recycle(chunks.splice(0))
    return { chunks, refused }
  }

  recycle(chunks: readonly DuckDBDataChunk[]): void {
    for (const chunk of chunks) {
      if (this.#spare.length >= MAX_SPARE_CHUNKS) return
      chunk.reset()
      this.#spare.push(chunk)
    }
  }

  #reader(schema: Schema): Reader {
    let reader = this.#readers.get(schema)
    if (reader === undefined) {
      reader = readerOf(schema, this.#table, this.#columns)
      this.#readers.set(schema, reader)
    }
    return reader
  }

  /** Locates and checks every field of these rows. */
  #stage(
    reader: Reader,
    records: RecordBatch,
    rows: Int32Array,
    firstIndex: number,
    refused: RefusedRow[],
  ): void {
    const { view, fields, refusal } = reader
    const width = fields.length + 1
    if (this.#starts.length < CHUNK_ROWS * width) this.#starts = new Int32Array(CHUNK_ROWS * width)
    const starts = this.#starts
    const { positions, buffer } = records
    for (let r = 0; r < rows.length; r++) {
      if (refusal !== null) {
        refused.push({ index: firstIndex + r, ...refusal })
        continue
      }
      const row = rows[r]! * STRIDE
      view.$wrap(buffer, positions[row + VALUE_START]! + HEADER_BYTES, positions[row + VALUE_END]!)
      try {
        for (let f = fields.length; f >= 0; f--) starts[r * width + f] = view.$startOf(f)
      } catch (error) {
        refused.push({
          index: firstIndex + r,
          reason: (error as Error).message,
          field: unreadableField(reader),
        })
        continue
      }
      const bad = badValue(reader, buffer, starts, r * width)
      if (bad !== null) refused.push({ index: firstIndex + r, ...bad })
    }
  }

  #fill(reader: Reader, records: RecordBatch, rows: Int32Array): DuckDBDataChunk {
    const chunk = this.#spare.pop() ?? DuckDBDataChunk.create(this.#types)
    duckdb.data_chunk_set_size(chunk.chunk, rows.length)
    const width = reader.fields.length + 1
    for (const [i, { column, field, fieldIndex }] of reader.mappings.entries()) {
      const vector = duckdb.data_chunk_get_vector(chunk.chunk, i)
      if (column === null || field === null) {
        setAllNull(vector)
        continue
      }
      column.clear()
      fillColumn(column, field, records.buffer, this.#starts, fieldIndex, width, rows.length)
      copyColumn(column, records.buffer, vector, rows.length)
    }
    return chunk
  }
}

const MAX_SPARE_CHUNKS = 64
const ALL_NULL = new Uint8Array(CHUNK_ROWS / 8)

function readerOf(schema: Schema, table: string, columns: readonly (Column | null)[]): Reader {
  let refusal: Reader['refusal'] = null
  const mappings = columns.map((column): Mapping => {
    if (column === null) return { column, field: null, fieldIndex: -1 }
    const { name, kind, optional } = column.definition
    const fieldIndex = schema.fields.findIndex((field) => field.name === name)
    const field = schema.fields[fieldIndex] ?? null
    if (field === null && !optional) {
      refusal ??= { reason: `${schema.name} has no field ${name}, which ${table} requires.`, field: name }
    }
    if (field !== null && field.kind !== kind && PROMOTIONS[field.kind]?.includes(kind) !== true) {
      const reason = `${schema.name}.${name} is a ${field.kind}, the table's column is a ${kind}.`
      refusal ??= { reason, field: name }
    }
    return { column, field, fieldIndex }
  })
  const checked = mappings.flatMap(({ column, field, fieldIndex }): Checked[] => {
    if (column === null || field === null) return []
    const nullFits = column.definition.optional
    return NUMBERS.has(field.kind) || (field.optional && !nullFits) ? [{ field, fieldIndex, nullFits }] : []
  })
  return { view: schema.view(), fields: schema.fields, mappings, checked, refusal }
}

/** The first field that the wrapped record does not hold. */
function unreadableField({ view, fields }: Reader): string | null {
  for (const [index, { name }] of fields.entries()) {
    try {
      view.$startOf(index + 1)
    } catch {
      return name
    }
  }
  return null
}

/** A value whose bytes are sound and which the column cannot hold. */
function badValue(
  { checked }: Reader,
  buffer: Buffer,
  starts: Int32Array,
  first: number,
): Omit<RefusedRow, 'index'> | null {
  for (let c = 0; c < checked.length; c++) {
    const { field, fieldIndex, nullFits } = checked[c]!
    let start = starts[first + fieldIndex]!
    const end = starts[first + fieldIndex + 1]!
    if (field.optional && buffer[start++] === 0) {
      if (nullFits) continue
      return { reason: `${field.name} is null, and the table requires a value.`, field: field.name }
    }
    const { kind } = field
    if (!NUMBERS.has(kind)) continue
    const value = kind === 'timestamp' ? readTimestamp(buffer, start, end) : readLong(buffer, start, end)
    // The codec's own limits, so that what a pipeline could not read is not in its tables either.
    if (Number.isNaN(value) || (kind === 'int' && value !== (value | 0))) {
      return { reason: `${field.name} holds a number that is no ${kind}.`, field: field.name }
    }
  }
  return null
}

function fillColumn(
  column: Column,
  field: FieldDefinition,
  buffer: Buffer,
  starts: Int32Array,
  fieldIndex: number,
  width: number,
  count: number,
): void {
  const { kind } = field
  const target = column.definition.kind
  const { bytes, ints, doubles } = column
  for (let r = 0, at = fieldIndex; r < count; r++, at += width) {
    let start = starts[at]!
    const end = starts[at + 1]!
    if (field.optional && buffer[start++] === 0) {
      column.setNull(r)
      continue
    }
    if (kind === 'string') fillText(column, buffer, r, end - textLength(buffer, start, end), end)
    else if (kind === 'bytes') fillText(column, buffer, r, end - textLength(buffer, start, end), end)
    else if (kind === 'double') doubles[r] = readDouble(buffer, start)
    else if (kind === 'boolean') bytes[r] = buffer[start]!
    else if (target === 'double') doubles[r] = readLong(buffer, start, end)
    else if (target === 'int') ints[r] = readLong(buffer, start, end)
    else {
      const value = readLong(buffer, start, end)
      const high = Math.floor(value / 0x100000000)
      ints[2 * r] = value - high * 0x100000000
      ints[2 * r + 1] = high
    }
  }
}

/** Of the content of a length-prefixed field that ends at `end`. */
function textLength(buffer: Buffer, start: number, end: number): number {
  let position = start
  while (buffer[position]! >= 0x80) position++
  return end - position - 1
}

function fillText(column: Column, buffer: Buffer, row: number, start: number, end: number): void {
  const { bytes, ints } = column
  const length = end - start
  const at = row * 4
  ints[at + 1] = 0
  ints[at + 2] = 0
  ints[at + 3] = 0
  if (length > INLINE_BYTES) {
    ints[at] = 0
    column.long.push(row, start, end)
    return
  }
  ints[at] = length
  const target = row * STRING_BYTES + 4
  let high = 0
  for (let i = 0; i < length; i++) {
    const byte = buffer[start + i]!
    high |= byte
    bytes[target + i] = byte
  }
  // Texts have to be UTF-8; the few that are not pure ASCII are looked at one by one.
  if (high >= 0x80 && column.definition.kind === 'string') column.long.push(row, start, end)
}

function setAllNull(vector: duckdb.Vector): void {
  duckdb.vector_ensure_validity_writable(vector)
  duckdb.copy_data_to_vector_validity(vector, 0, ALL_NULL.buffer, 0, ALL_NULL.length)
}

function copyColumn(column: Column, buffer: Buffer, vector: duckdb.Vector, count: number): void {
  const { definition, bytes, validity, long } = column
  const data = bytes.buffer as ArrayBuffer
  duckdb.copy_data_to_vector(vector, 0, data, 0, count * WIDTHS[definition.kind])
  for (let i = 0; i < long.length; i += 3) {
    const content = buffer.subarray(long[i + 1]!, long[i + 2]!)
    const isSound = definition.kind === 'bytes' || isUtf8(content)
    // As the record's view reads it: what is no UTF-8 becomes U+FFFD.
    const text = isSound ? content : Buffer.from(content.toString('utf8'), 'utf8')
    duckdb.vector_assign_string_element_len(vector, long[i]!, text)
  }
  if (!column.hasNulls) return
  duckdb.vector_ensure_validity_writable(vector)
  duckdb.copy_data_to_vector_validity(vector, 0, validity.buffer, 0, Math.ceil(count / 64) * 8)
}
