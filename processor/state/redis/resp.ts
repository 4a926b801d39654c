import { Command } from 'ioredis'
import type { Script } from './scripts.ts'

/** Room before the arguments for `*<n>`, the command and the script's name. */
const HEAD_BYTES = 96
const CR = 13
const LF = 10
const DOLLAR = 36
/** Below it a loop is quicker than a call of `copy`. */
const LOOP_BYTES = 24

/** Arguments of a Redis command in its own encoding (RESP bulk strings), written straight into one buffer. */
export class RespWriter {
  buffer: Buffer
  position: number
  /** Arguments written. */
  count = 0
  readonly #start: number

  /** @param start where the first argument goes */
  constructor(initialBytes: number, start = 0) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes)
    this.position = start
    this.#start = start
  }

  clear(): void {
    this.position = this.#start
    this.count = 0
  }

  /** One argument: the bytes [from, to) of `source`. */
  bulk(source: Buffer, from: number, to: number): void {
    const bytes = to - from
    this.#ensure(bytes + 16)
    const target = this.buffer
    let at = this.position
    target[at++] = DOLLAR
    at = writeDecimal(target, at, bytes)
    target[at++] = CR
    target[at++] = LF
    if (bytes <= LOOP_BYTES) {
      for (let i = from; i < to; i++) target[at++] = source[i]!
    } else {
      at += source.copy(target, at, from, to)
    }
    target[at++] = CR
    target[at++] = LF
    this.position = at
    this.count++
  }

  bytes(value: Buffer): void {
    this.bulk(value, 0, value.length)
  }

  text(value: string): void {
    this.bytes(Buffer.from(value))
  }

  number(value: number): void {
    this.text(String(value))
  }

  /** All arguments of another writer. */
  append(other: RespWriter): void {
    const bytes = other.position - other.#start
    this.#ensure(bytes)
    other.buffer.copy(this.buffer, this.position, other.#start, other.position)
    this.position += bytes
    this.count += other.count
  }

  #ensure(bytes: number): void {
    const needed = this.position + bytes
    if (needed <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2))
    this.buffer.copy(grown, 0, 0, this.position)
    this.buffer = grown
  }
}

function writeDecimal(target: Buffer, position: number, value: number): number {
  if (value < 10) {
    target[position] = 48 + value
    return position + 1
  }
  if (value < 100) {
    const tens = (value / 10) | 0
    target[position] = 48 + tens
    target[position + 1] = 48 + value - tens * 10
    return position + 2
  }
  return position + target.write(String(value), position, 'latin1')
}

/** The call of a script, encoded by hand; reusable after `begin`. */
export class ScriptCall extends RespWriter {
  script!: Script
  /** Tells a cluster which slot the call belongs to. */
  firstKey!: Buffer

  constructor() {
    super(16 * 1024, HEAD_BYTES)
  }

  begin(script: Script, keys: readonly Buffer[]): this {
    this.clear()
    this.script = script
    this.firstKey = keys[0]!
    this.number(keys.length)
    for (const key of keys) this.bytes(key)
    return this
  }

  /** By the script's digest: what the server usually has. A view over the buffer. */
  evalSha(): Buffer {
    const { sha } = this.script
    const head = `*${this.count + 2}\r\n$7\r\nEVALSHA\r\n$${sha.length}\r\n${sha}\r\n`
    const start = HEAD_BYTES - head.length
    this.buffer.write(head, start, 'latin1')
    return this.buffer.subarray(start, this.position)
  }

  /** With the script's text, which the server keeps from then on. A copy. */
  eval(): Buffer {
    const { source } = this.script
    const head = Buffer.from(`*${this.count + 2}\r\n$4\r\nEVAL\r\n$${source.length}\r\n`)
    return Buffer.concat([head, source, Buffer.from('\r\n'), this.buffer.subarray(HEAD_BYTES, this.position)])
  }
}

/**
 * Takes bytes that are ready to be sent through ioredis' queue of commands: it matches the reply, routes by the
 * first key, follows redirections and keeps the time, and never sees the arguments (four times cheaper).
 */
export class ReadyCommand extends Command {
  readonly #bytes: Buffer

  constructor(firstKey: Buffer, bytes: Buffer) {
    // The name and the key are what ioredis takes the slot from.
    super('evalsha', ['', '1', firstKey])
    this.#bytes = bytes
  }

  override toWritable(_socket: object): Buffer {
    return this.#bytes
  }
}
