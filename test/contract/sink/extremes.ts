import {
  boolean,
  bytes,
  double,
  int,
  long,
  optional,
  schema,
  string,
  timestamp,
  type RowOf,
} from '../../../schemas/schema.ts'

/** Every type, as it is and optional. */
export const everything = schema('Everything', {
  id: long(),
  text: string(),
  text_or_null: optional(string()),
  real: double(),
  real_or_null: optional(double()),
  whole: long(),
  whole_or_null: optional(long()),
  small: int(),
  small_or_null: optional(int()),
  truth: boolean(),
  truth_or_null: optional(boolean()),
  at: timestamp(),
  at_or_null: optional(timestamp()),
  raw: bytes(),
  raw_or_null: optional(bytes()),
})
/** All of Unicode, the least and the greatest of each type, and nulls. */
export function extremes(): RowOf<typeof everything>[] {
  const texts = [
    '',
    'plain',
    '123456789012',
    '1234567890123',
    'ünïcödé',
    'a\0b',
    'a\0b and much longer than twelve',
    '😀😀😀',
    '語'.repeat(5_000),
    '"; DROP TABLE x; --',
  ]
  const reals = [0, -0, 1.5, -1e-308, Number.MAX_VALUE, Number.MIN_VALUE, Infinity, -Infinity, NaN, 0.1 + 0.2]
  const wholes = [
    0,
    1,
    -1,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    -(2 ** 32) - 1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    42,
  ]
  const smalls = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 7, 8, 9, 10, 11]
  const times = [
    0, 1, -1, 1_700_000_000_123, 1_700_000_000_123.456, -8_700_000_000_000, 8_700_000_000_000, 0.001, -0.001,
    253,
  ]
  const blobs = texts.map((text, i) => new Uint8Array(Buffer.from(i % 2 === 0 ? text : [0, 255, 128, i])))
  return texts.map((text, i) => {
    const isNull = i % 3 === 0
    return {
      id: i,
      text,
      text_or_null: isNull ? null : text,
      real: reals[i]!,
      real_or_null: isNull ? null : reals[i]!,
      whole: wholes[i]!,
      whole_or_null: isNull ? null : wholes[i]!,
      small: smalls[i]!,
      small_or_null: isNull ? null : smalls[i]!,
      truth: i % 2 === 0,
      truth_or_null: isNull ? null : i % 2 === 0,
      at: times[i]!,
      at_or_null: isNull ? null : times[i]!,
      raw: blobs[i]!,
      raw_or_null: isNull ? null : blobs[i]!,
    }
  })
}
