/**
 * A small seeded generator of random numbers (sfc32, Chris Doty-Humphrey's PractRand): two numbers seed
 * it, so that the n-th record of a run is a function of (seed, n) alone.
 */
export class Random {
  #a = 0
  #b = 0
  #c = 0
  #counter = 1

  /** Starts the sequence of (seed, index) from its beginning; both are whole numbers. */
  seed(seed: number, index: number): this {
    this.#a = mix(seed)
    this.#b = mix(Math.floor(seed / 2 ** 32) ^ index)
    this.#c = mix(Math.floor(index / 2 ** 32) ^ 0x9e3779b9)
    this.#counter = 1
    for (let i = 0; i < 8; i++) this.#next()
    return this
  }

  /** Uniform in [0, 1). */
  unit(): number {
    return this.#next() / 2 ** 32
  }

  /** A whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.unit() * below)
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }

  /** Mean 0, deviation 1 (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit())
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }
}

function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
