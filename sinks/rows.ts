import { STRIDE, VALUE_END, VALUE_START } from '../log/batch.ts'
import { SchemaError, type Schema } from '../schemas/schema.ts'
import { HEADER_BYTES } from '../schemas/wire.ts'
import { RowsRefused, type RefusedRow, type RowBatch } from './port.ts'

/**
 * A batch's rows as plain objects: for destinations of a few rows (alerts, notifications), where an object a row
 * costs nothing that matters.
 * @param schema what the records were written with, as far as the destination needs it
 * @throws RowsRefused, before any row is given, when one cannot be read
 */
export function decodeRows<T>(destination: string, schema: Schema<T>, { spans }: RowBatch): T[] {
  const rows: T[] = []
  const refused: RefusedRow[] = []
  let index = 0
  for (const { records, indexes, count } of spans) {
    for (let i = 0; i < count; i++, index++) {
      const row = indexes[i]! * STRIDE
      const start = records.positions[row + VALUE_START]! + HEADER_BYTES
      try {
        rows.push(schema.decode(records.buffer, start, records.positions[row + VALUE_END]!))
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error
        refused.push({ index, reason: error.message, field: null })
      }
    }
  }
  if (refused.length > 0) throw new RowsRefused(destination, refused)
  return rows
}
