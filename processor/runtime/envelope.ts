/**
 * What a record carries through a repartition topic in front of its value (design §7): event time,
 * the watermark and the end mark of its source partition, its ingestion time. Four doubles.
 */
import type { ByteWriter } from '../../log/batch.ts'
import type { RecordContext } from './context.ts'

export const ENVELOPE_BYTES = 32

export function writeEnvelope(writer: ByteWriter, context: RecordContext): void {
  writer.ensure(ENVELOPE_BYTES)
  const { buffer } = writer
  let position = buffer.writeDoubleLE(context.eventTimeMs, writer.position)
  position = buffer.writeDoubleLE(context.watermarkMs, position)
  position = buffer.writeDoubleLE(context.e, position)
  writer.position = buffer.writeDoubleLE(context.ingestionMs, position)
}

export function readEnvelope(buffer: Buffer, start: number, context: RecordContext): void {
  context.eventTimeMs = buffer.readDoubleLE(start)
  context.watermarkMs = buffer.readDoubleLE(start + 8)
  context.e = buffer.readDoubleLE(start + 16)
  context.ingestionMs = buffer.readDoubleLE(start + 24)
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
