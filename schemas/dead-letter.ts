import { bytes, int, long, optional, schema, string, timestamp, type RowOf } from './schema.ts'

/** The one envelope of dead letters (design §4): what was refused, why, and where it stood. */
export const deadLetterSchema = schema('DeadLetter', {
  pipeline: string(),
  source: string(),
  partition: int(),
  /** The source's own position: an offset, or the uncompressed byte (Parquet: the row) of a file. */
  position: long(),
  reason: string(),
  field: optional(string()),
  payload: bytes(),
  failed_at: timestamp(),
  /** Where the record begins in a text file, or its number in a container; from 1. */
  line: optional(long()),
})

export type DeadLetter = RowOf<typeof deadLetterSchema>

/** What the columns of a table of dead letters say of themselves. */
export const deadLetterDescriptions = {
  pipeline: 'The pipeline that refused the record',
  source: 'Where it stood: a file, the generator, a topic, or the operator whose result it is',
  partition: 'The partition of a topic; 0 for files',
  position:
    'The byte in the uncompressed file (Parquet: the row), the number of the generated record, or the offset',
  reason: 'Why it was refused',
  field: 'The field that is to blame, where one is',
  payload: 'The original bytes',
  failed_at: 'When it was refused',
  line: 'The line of a text file that it begins on, or its number among the rows of Parquet or Avro, from 1',
} satisfies Record<keyof DeadLetter, string>
