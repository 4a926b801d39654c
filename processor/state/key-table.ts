/** Spreads the bytes in [start, end) over 32 bits. */
export type KeyHash = (bytes: Uint8Array, start: number, end: number) => number

/** Ints of a place in an index. Hashes lie here, so that a key that is not looked for is not touched. */
export const HASH = 0
/** A slot + 1; 0: the place is free. */
export const SLOT = 1
export const INDEX_STRIDE = 2

/** Up to here arrays double, beyond it they grow by half: what is not in use is counted too. */
const DOUBLES_UP_TO = 1024

/** The capacity of arrays that have to hold `needed` of something: never less, and a share more. */
export function grownCapacity(capacity: number, needed: number): number {
  return Math.max(needed, capacity < DOUBLES_UP_TO ? capacity * 2 : capacity + (capacity >> 1))
}

/**
 * The same numbers with room for `length`. The array of before is empty then: dead ones that are left to the garbage
 * collector outweigh what lives.
 */
export function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(array.buffer.transfer(length * Int32Array.BYTES_PER_ELEMENT))
}

/** MurmurHash3's steps, four bytes at a time. */
export function hashKey(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start
  let at = start
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    hash = mix(hash, word)
  }
  if (at < end) {
    let rest = bytes[at]!
    if (at + 1 < end) rest |= bytes[at + 1]! << 8
    if (at + 2 < end) rest |= bytes[at + 2]! << 16
    hash = mix(hash, rest)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

function mix(hash: number, word: number): number {
  const scrambled = Math.imul(word, 0xcc9e2d51)
  const mixed = hash ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b873593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

/**
 * Keys as bytes, each with a small number (its slot, counted from 0 in the order of insertion) for whoever keeps
 * something by key in columns. No object and no string a key: an open-addressing index over the keys' bytes, which
 * lie behind one another. Keys go by making the table anew without them ({@link keep}).
 */
export class KeyTable {
  /** How many keys there are; slots lie below it. */
  count = 0
  readonly #hash: KeyHash
  /** Of places, as {@link place} fills them. */
  #index = new Int32Array(0)
  /** Where each slot's key begins, which is where the one before it ends. */
  #starts = new Int32Array(1)
  #keys: Buffer<ArrayBuffer> = Buffer.alloc(0)

  /** @param hash for tests of what collides */
  constructor(hash: KeyHash = hashKey) {
    this.#hash = hash
  }

  /** Of what the table has taken, in use or not. */
  get byteLength(): number {
    return this.#index.byteLength + this.#starts.byteLength + this.#keys.length
  }

  /** Where the keys' bytes lie, until the next insertion. */
  get keys(): Buffer {
    return this.#keys
  }

  startOf(slot: number): number {
    return this.#starts[slot]!
  }

  endOf(slot: number): number {
    return this.#starts[slot + 1]!
  }

  hashOf(bytes: Uint8Array, start: number, end: number): number {
    return this.#hash(bytes, start, end)
  }

  /** The slot of the key in [start, end), -1 where there is none. @param hash the key's, by `hashOf` */
  find(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const index = this.#index
    const last = index.length - INDEX_STRIDE
    if (last < 0) return -1
    for (let place = (hash << 1) & last; ; place = (place + INDEX_STRIDE) & last) {
      const slot = index[place + SLOT]! - 1
      if (slot < 0) return -1
      if (index[place + HASH] === hash && this.#holds(slot, bytes, start, end)) return slot
    }
  }

  /** Takes in a key that is not there, and gives its slot. */
  insert(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const slot = this.count
    const length = end - start
    const keyStart = this.#starts[slot]!
    this.#makeRoom(slot + 1, keyStart + length)
    const keys = this.#keys
    for (let i = 0; i < length; i++) keys[keyStart + i] = bytes[start + i]!
    this.#starts[slot + 1] = keyStart + length
    this.count++
    place(this.#index, hash, slot)
    return slot
  }

  /** Negative, 0 or positive as the key of slot `a` stands before, is or stands behind that of `b`, by bytes. */
  compare(a: number, b: number): number {
    const keys = this.#keys
    const aEnd = this.endOf(a)
    const bEnd = this.endOf(b)
    let i = this.startOf(a)
    let j = this.startOf(b)
    for (; i < aEnd && j < bEnd; i++, j++) {
      const difference = keys[i]! - keys[j]!
      if (difference !== 0) return difference
    }
    return aEnd - i - (bEnd - j)
  }

  /** Keeps these slots, in rising order, as slots 0, 1, …; the room of the others is free. */
  keep(slots: Int32Array): void {
    const starts = this.#starts
    const keys = this.#keys
    let bytes = 0
    for (const slot of slots) bytes += this.endOf(slot) - this.startOf(slot)
    this.#index = new Int32Array(0)
    this.#starts = new Int32Array(slots.length + 1)
    this.#keys = Buffer.allocUnsafeSlow(bytes)
    this.count = 0
    this.#index = indexFor(slots.length, this.#index)
    for (const slot of slots) {
      const start = starts[slot]!
      const end = starts[slot + 1]!
      this.insert(this.#hash(keys, start, end), keys, start, end)
    }
  }

  /** Forgets all keys, and keeps the room. */
  clear(): void {
    if (this.count > 0) this.#index.fill(0)
    this.count = 0
  }

  #holds(slot: number, bytes: Uint8Array, start: number, end: number): boolean {
    let at = this.#starts[slot]!
    if (this.#starts[slot + 1]! - at !== end - start) return false
    const keys = this.#keys
    for (let i = start; i < end; i++) if (keys[at++] !== bytes[i]) return false
    return true
  }

  #makeRoom(slots: number, keyBytes: number): void {
    if (keyBytes > this.#keys.length) {
      this.#keys = Buffer.from(this.#keys.buffer.transfer(grownCapacity(this.#keys.length, keyBytes)))
    }
    if (slots >= this.#starts.length) {
      this.#starts = grown(this.#starts, grownCapacity(this.#starts.length, slots + 1))
    }
    this.#index = indexFor(slots, this.#index)
  }
}

/**
 * An index with room for so many slots, at most three quarters full: the one given, or a larger one with its slots,
 * and the one given is empty then.
 */
export function indexFor(slots: number, index: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  if (slots * 4 * INDEX_STRIDE <= index.length * 3) return index
  let places = 4
  while (slots * 4 > places * 3) places *= 2
  const larger = new Int32Array(places * INDEX_STRIDE)
  for (let at = 0; at < index.length; at += INDEX_STRIDE) {
    const slot = index[at + SLOT]! - 1
    if (slot >= 0) place(larger, index[at + HASH]!, slot)
  }
  index.buffer.transfer(0)
  return larger
}

/** Notes a slot that is not there yet in the first free place from where its hash points: linear probing. */
export function place(index: Int32Array, hash: number, slot: number): void {
  const last = index.length - INDEX_STRIDE
  let at = (hash << 1) & last
  while (index[at + SLOT] !== 0) at = (at + INDEX_STRIDE) & last
  index[at + HASH] = hash
  index[at + SLOT] = slot + 1
}
