import type { Writer } from './codec/encoder.ts'
import { SchemaError } from './errors.ts'

/** The registry's wire format: a zero byte and the schema's id (int32, big-endian), then the record. */
export const HEADER_BYTES = 5

const MAGIC = 0

/** Writes the header of a record whose schema has this id. */
export function writeHeader(writer: Writer, id: number): void {
  writer.ensure(HEADER_BYTES)
  const { buffer, position } = writer
  buffer[position] = MAGIC
  buffer[position + 1] = id >>> 24
  buffer[position + 2] = id >>> 16
  buffer[position + 3] = id >>> 8
  buffer[position + 4] = id
  writer.position = position + HEADER_BYTES
}

/**
 * The id of the schema that the record in [start, end) was written with.
 * @throws SchemaError UNKNOWN_WIRE_FORMAT when it does not begin with the header
 */
export function readSchemaId(buffer: Buffer, start: number, end: number): number {
  if (end - start < HEADER_BYTES || buffer[start] !== MAGIC) {
    const found = end > start ? `begins with byte ${buffer[start]!}` : 'is empty'
    throw new SchemaError(
      'UNKNOWN_WIRE_FORMAT',
      `A record of ${end - start} bytes ${found}, not with the schema registry's header (0 and a schema id): ` +
        `something else writes to this topic.`,
    )
  }
  return buffer.readInt32BE(start + 1)
}
