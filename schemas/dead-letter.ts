import { bytes, int, long, optional, schema, string, timestamp, type RowOf } from './schema.ts'

/** The one envelope of dead letters (design §4): what was refused, why, and where it stood. */
export const deadLetterSchema = schema('DeadLetter', {
  pipeline: string(),
  source: string(),
  partition: int(),
  /** The source's own position: an offset, or the uncompressed byte of a file. */
  position: long(),
  reason: string(),
  field: optional(string()),
  payload: bytes(),
  failed_at: timestamp(),
})

export type DeadLetter = RowOf<typeof deadLetterSchema>
