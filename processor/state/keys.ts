/**
 * Every key of the `-windows` changelog and of the state is built here:
 * store id (2 bytes) · segment (8) · rest, where a window's rest begins with its start (8).
 * Times are biased so that bytes sort as numbers do.
 */
import type { ByteWriter } from '../../log/batch.ts'

const SEGMENT_KEY_BYTES = 10
export const WINDOW_KEY_BYTES = 18

/** Times may lie before 1970: an offset of 2^52 ms keeps them positive. */
const BIAS = 2 ** 52

function writeTime(buffer: Buffer, position: number, timeMs: number): void {
  const biased = timeMs + BIAS
  buffer.writeUInt32BE(Math.floor(biased / 2 ** 32), position)
  buffer.writeUInt32BE(biased % 2 ** 32, position + 4)
}

function readTime(buffer: Buffer, position: number): number {
  return buffer.readUInt32BE(position) * 2 ** 32 + buffer.readUInt32BE(position + 4) - BIAS
}

export function writeSegmentKey(writer: ByteWriter, store: number, segmentMs: number, key: string): void {
  writer.ensure(SEGMENT_KEY_BYTES)
  writer.position = writer.buffer.writeUInt16BE(store, writer.position)
  writeTime(writer.buffer, writer.position, segmentMs)
  writer.position += 8
  writer.utf8(key)
}

export function writeWindowKey(
  writer: ByteWriter,
  store: number,
  segmentMs: number,
  windowStartMs: number,
  key: string,
): void {
  writer.ensure(WINDOW_KEY_BYTES)
  writer.position = writer.buffer.writeUInt16BE(store, writer.position)
  writeTime(writer.buffer, writer.position, segmentMs)
  writeTime(writer.buffer, writer.position + 8, windowStartMs)
  writer.position += 16
  writer.utf8(key)
}

export function segmentPrefix(store: number, segmentMs: number): Buffer {
  const prefix = Buffer.allocUnsafe(SEGMENT_KEY_BYTES)
  prefix.writeUInt16BE(store, 0)
  writeTime(prefix, 2, segmentMs)
  return prefix
}

export function windowPrefix(store: number, segmentMs: number, windowStartMs: number): Buffer {
  const prefix = Buffer.allocUnsafe(WINDOW_KEY_BYTES)
  prefix.writeUInt16BE(store, 0)
  writeTime(prefix, 2, segmentMs)
  writeTime(prefix, 10, windowStartMs)
  return prefix
}

export function segmentKey(store: number, segmentMs: number, key: string): Buffer {
  return Buffer.concat([segmentPrefix(store, segmentMs), Buffer.from(key, 'utf8')])
}

export function windowKey(store: number, segmentMs: number, windowStartMs: number, key: string): Buffer {
  return Buffer.concat([windowPrefix(store, segmentMs, windowStartMs), Buffer.from(key, 'utf8')])
}

export function storeOf(key: Buffer): number {
  return key.readUInt16BE(0)
}

export function segmentOf(key: Buffer): number {
  return readTime(key, 2)
}
