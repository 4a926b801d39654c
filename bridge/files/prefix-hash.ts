import { createHash, type Hash } from 'node:crypto'

/** How much of a file its head is (design, issue of files): enough to say where content differs. */
const HEAD_BYTES = 64 << 10

export interface PrefixDigest {
  /** SHA-256 of all `length` bytes, hex. */
  readonly hash: string
  /** SHA-256 of the first `headBytes` bytes, at most {@link HEAD_BYTES}. */
  readonly headHash: string
  readonly headBytes: number
}

/** The hash of what was read of a file so far, and of its head. */
export class PrefixHash {
  #hash: Hash
  #length = 0
  #headHash: string | null = null

  constructor() {
    this.#hash = createHash('sha256')
  }

  get length(): number {
    return this.#length
  }

  update(bytes: Uint8Array): void {
    const headLeft = HEAD_BYTES - this.#length
    if (headLeft > 0 && bytes.length >= headLeft) {
      this.#hash.update(bytes.subarray(0, headLeft))
      this.#headHash = this.#hash.copy().digest('hex')
      this.#hash.update(bytes.subarray(headLeft))
    } else {
      this.#hash.update(bytes)
    }
    this.#length += bytes.length
  }

  /** Leaves the hash as it is: more can follow. */
  digest(): PrefixDigest {
    const hash = this.#hash.copy().digest('hex')
    return { hash, headHash: this.#headHash ?? hash, headBytes: Math.min(this.#length, HEAD_BYTES) }
  }

  clone(): PrefixHash {
    const clone = new PrefixHash()
    clone.#hash = this.#hash.copy()
    clone.#length = this.#length
    clone.#headHash = this.#headHash
    return clone
  }
}
