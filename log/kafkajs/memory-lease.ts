import type { Lease } from '../batch.ts'

/** Smaller ones are left to the garbage collector. */
const LEAST_BYTES = 64 * 1024

/**
 * The memory of a response, given back as soon as the last of its batches is done with: left to the garbage collector,
 * dead responses outweigh what lives. A view that is read afterwards is empty, never another's bytes.
 */
export class MemoryLease implements Lease {
  readonly #memory: ArrayBuffer
  #holders = 0

  constructor(memory: ArrayBuffer) {
    this.#memory = memory
  }

  /** Of what a view lies in. null: it is too small to matter, or Node's pool, in which others' bytes lie too. */
  static of({ buffer }: Buffer): MemoryLease | null {
    const isOwn = buffer instanceof ArrayBuffer && buffer.byteLength > Math.max(LEAST_BYTES, Buffer.poolSize)
    return isOwn ? new MemoryLease(buffer) : null
  }

  retain(): this {
    this.#holders++
    return this
  }

  release(): void {
    if (--this.#holders === 0) this.#memory.transfer(0)
  }
}
