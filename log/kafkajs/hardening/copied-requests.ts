/**
 * Fault: KafkaJS copies a request's body into one with the header, that into one with the length, each grown from 512
 * bytes on by doubling and zeroed before: records are copied some ten times before the socket has them.
 * Where: kafkajs/src/protocol/request.js, encoder.js (`writeBufferInternal`, `ensureAvailable`).
 * Mended here: length and header are a buffer of their own, and the body's parts go behind it as they are, in one
 * system call.
 */
import type { Writable } from 'node:stream'

const FIXED_BYTES = 14

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string
}

/** @param parts of the body, in order: not to be written to before the answer is there, or the socket gone */
export function writeRequest(socket: Writable, header: RequestHeader, parts: readonly Uint8Array[]): void {
  const client = Buffer.from(header.clientId)
  const bytes = Buffer.allocUnsafe(FIXED_BYTES + client.length)
  const bodyBytes = parts.reduce((sum, { length }) => sum + length, 0)
  let at = bytes.writeInt32BE(bytes.length - 4 + bodyBytes, 0)
  at = bytes.writeInt16BE(header.apiKey, at)
  at = bytes.writeInt16BE(header.apiVersion, at)
  at = bytes.writeInt32BE(header.correlationId, at)
  at = bytes.writeInt16BE(client.length, at)
  bytes.set(client, at)
  socket.cork()
  socket.write(bytes)
  for (const part of parts) socket.write(part)
  socket.uncork()
}
