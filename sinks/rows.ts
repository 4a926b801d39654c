import { STRIDE, VALUE_END, VALUE_START } from '../log/batch.ts'
import { SchemaError, type Row } from '../schemas/schema.ts'
import { HEADER_BYTES } from '../schemas/wire.ts'
import { RowsRefused, type RefusedRow, type RowBatch } from './port.ts'

export interface DecodedRow<T> {
  readonly value: T
  readonly offset: number
  /** When it was written, epoch ms. */
  readonly writtenMs: number
}

/**
 * What `read` makes of a batch's rows as plain objects, by the schemas that they were written with: for destinations
 * of a few rows (alerts, notices), where an object a row costs nothing that matters.
 * @throws RowsRefused, before anything is given, when one cannot be read, or `read` throws for it
 */
export function decodeRows<T>(
  destination: string,
  { spans }: RowBatch,
  read: (row: Row, offset: number) => T,
): DecodedRow<T>[] {
  const rows: DecodedRow<T>[] = []
  const refused: RefusedRow[] = []
  let index = 0
  for (const { records, schema, indexes, count } of spans) {
    for (let i = 0; i < count; i++, index++) {
      const record = indexes[i]!
      const start = records.positions[record * STRIDE + VALUE_START]! + HEADER_BYTES
      const offset = records.offsetAt(record)
      try {
        const row = schema.decode(records.buffer, start, records.positions[record * STRIDE + VALUE_END]!)
        rows.push({ value: read(row, offset), offset, writtenMs: records.timestampAt(record) })
      } catch (error) {
        const { message } = error as Error
        const reason =
          error instanceof SchemaError ? message : `the pipeline's notify cannot read it: ${message}`
        refused.push({ index, reason, field: null })
      }
    }
  }
  if (refused.length > 0) throw new RowsRefused(destination, refused)
  return rows
}
