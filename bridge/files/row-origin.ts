import type { Origin } from '../reader.ts'

/** Where a record of a container stands. Its bytes are the library's: a dead letter has it as JSON instead. */
export class RowOrigin implements Origin {
  source: string
  position = 0
  line: number | null = null
  byteLength = 0
  fallbackEventTimeMs: number
  readonly start = 0
  #row: unknown = null
  #text: Buffer | null = null

  constructor(source: string, fallbackEventTimeMs: number) {
    this.source = source
    this.fallbackEventTimeMs = fallbackEventTimeMs
  }

  /** @param row is kept: hand a copy of it to whoever casts in place */
  at(row: unknown, position: number, line: number, byteLength: number): this {
    this.#row = row
    this.#text = null
    this.position = position
    this.line = line
    this.byteLength = byteLength
    return this
  }

  get buffer(): Buffer {
    return (this.#text ??= Buffer.isBuffer(this.#row) ? this.#row : Buffer.from(shown(this.#row)))
  }

  get end(): number {
    return this.buffer.length
  }
}

function shown(row: unknown): string {
  return JSON.stringify(row, function (this: Record<string, unknown>, key, value: unknown) {
    const original = this[key]
    if (original instanceof Uint8Array) return Buffer.from(original).toString('base64')
    return typeof value === 'bigint' ? String(value) : value
  })
}
