/**
 * Every key of the `-windows` changelog and of the state is built here:
 * store id (2 bytes) · segment (8) · rest, where a window's rest begins with its start (8).
 * Times are biased so that bytes sort as numbers do.
 */
import type { ByteWriter } from '../../log/batch.ts'

/** A key's segment: store and time. */
export const SEGMENT_BYTES = 10
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

/** Writes a key from its prefix ({@link segmentPrefix}, {@link windowPrefix}) and the bytes of the rest. */
export function writeKey(
  writer: ByteWriter,
  prefix: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  writer.range(prefix, 0, prefix.length)
  writer.range(bytes, start, end)
}

export function segmentPrefix(store: number, segmentMs: number): Buffer {
  const prefix = Buffer.allocUnsafe(SEGMENT_BYTES)
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

/** Of a key that begins with a window's prefix. */
export function windowStartOfKey(key: Buffer): number {
  return readTime(key, SEGMENT_BYTES)
}

export function storeOf(key: Buffer): number {
  return key.readUInt16BE(0)
}

export function segmentOf(key: Buffer): number {
  return readTime(key, 2)
}
