/**
 * What a record carries through a repartition topic in front of its value (design §7): a byte that says whether its
 * place comes along, then event time, the watermark and the end mark of its source partition, its ingestion time,
 * and where something downstream asks for it, its place. Doubles.
 */
import type { ByteWriter } from '../../log/batch.ts'
import type { RecordContext } from './context.ts'

const PLAIN_BYTES = 33
const PLACED_BYTES = 57

export function writeEnvelope(writer: ByteWriter, context: RecordContext, withPlace: boolean): void {
  writer.ensure(PLACED_BYTES)
  const { buffer } = writer
  let position = buffer.writeUInt8(withPlace ? 1 : 0, writer.position)
  position = buffer.writeDoubleLE(context.eventTimeMs, position)
  position = buffer.writeDoubleLE(context.watermarkMs, position)
  position = buffer.writeDoubleLE(context.e, position)
  position = buffer.writeDoubleLE(context.ingestionMs, position)
  if (withPlace) {
    position = buffer.writeDoubleLE(context.origin, position)
    position = buffer.writeDoubleLE(context.offset, position)
    position = buffer.writeDoubleLE(context.ordinal, position)
  }
  writer.position = position
}

/**
 * The place stays as it is in the context where none comes along.
 * @returns where the value begins
 */
export function readEnvelope(buffer: Buffer, start: number, context: RecordContext): number {
  context.eventTimeMs = buffer.readDoubleLE(start + 1)
  context.watermarkMs = buffer.readDoubleLE(start + 9)
  context.e = buffer.readDoubleLE(start + 17)
  context.ingestionMs = buffer.readDoubleLE(start + 25)
  if (buffer[start] === 0) return start + PLAIN_BYTES
  context.origin = buffer.readDoubleLE(start + 33)
  context.offset = buffer.readDoubleLE(start + 41)
  context.ordinal = buffer.readDoubleLE(start + 49)
  return start + PLACED_BYTES
}

/** A partial result: the upstream task's partition, the window's start, then its accumulators. */
export const PARTIAL_HEADER_BYTES = 12
/** The upstream task's partition, which stands first. */
export const UPSTREAM_BYTES = 4

export function writePartialHeader(
  writer: ByteWriter,
  upstreamPartition: number,
  windowStartMs: number,
): void {
  writer.ensure(PARTIAL_HEADER_BYTES)
  const position = writer.buffer.writeUInt32LE(upstreamPartition, writer.position)
  writer.position = writer.buffer.writeDoubleLE(windowStartMs, position)
}

export function partialWindowStart(partial: Buffer): number {
  return partial.readDoubleLE(UPSTREAM_BYTES)
}
