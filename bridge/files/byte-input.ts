import { open, type FileHandle } from 'node:fs/promises'
import { createGunzip, type Gunzip } from 'node:zlib'
import { fileError } from './paths.ts'

/** A file's content, uncompressed, chunk by chunk. */
export interface ByteInput {
  readonly isGzip: boolean
  /** Bytes of the file as it lies on disk that were read so far. */
  readonly consumed: number
  /** What ended a gzip file early, in zlib's words; null while it is sound. */
  readonly damage: string | null
  /** Reads up to `maxBytes` into the buffer at `offset`; 0 is the end. @throws SourceError FILE_UNREADABLE */
  read(buffer: Buffer, offset: number, maxBytes: number): Promise<number>
  close(): Promise<void>
}

/**
 * Opens a file at an uncompressed byte; gzip is known by its first two bytes, whatever the name says.
 * In a gzip file what precedes `position` is decompressed and skipped.
 */
export async function openBytes(path: string, position: number): Promise<ByteInput> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw fileError(path, error)
  })
  try {
    const magic = Buffer.alloc(2)
    const { bytesRead } = await file.read(magic, 0, 2, 0)
    // No text begins with a control character of that kind, so plain input is never taken for gzip.
    if (bytesRead < 2 || magic[0] !== 0x1f || magic[1] !== 0x8b) return new PlainInput(path, file, position)
    const input = new GzipInput(path, file)
    await input.skip(position)
    return input
  } catch (error) {
    await file.close()
    throw fileError(path, error)
  }
}

class PlainInput implements ByteInput {
  readonly isGzip = false
  readonly damage = null
  readonly #path: string
  readonly #file: FileHandle
  #position: number

  constructor(path: string, file: FileHandle, position: number) {
    this.#path = path
    this.#file = file
    this.#position = position
  }

  get consumed(): number {
    return this.#position
  }

  async read(buffer: Buffer, offset: number, maxBytes: number): Promise<number> {
    try {
      const { bytesRead } = await this.#file.read(buffer, offset, maxBytes, this.#position)
      this.#position += bytesRead
      return bytesRead
    } catch (error) {
      throw fileError(this.#path, error)
    }
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** Small, since it may become a thousand times as much, all of which is held until it is read. */
const COMPRESSED_BYTES = 16 << 10
const OUTPUT_BYTES = 256 << 10

class GzipInput implements ByteInput {
  readonly isGzip = true
  readonly #path: string
  readonly #file: FileHandle
  readonly #gunzip: Gunzip = createGunzip({ chunkSize: OUTPUT_BYTES })
  readonly #piece = Buffer.allocUnsafe(COMPRESSED_BYTES)
  #ready: Buffer[] = []
  #consumed = 0
  #finished = false
  #damage: string | null = null
  #wake: (() => void) | null = null

  constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
    // Flowing, so that what was decompressed before an error is not thrown away with the stream.
    this.#gunzip.on('data', (chunk: Buffer) => this.#ready.push(chunk))
    this.#gunzip.on('error', (error) => {
      this.#damage = error.message
      this.#finish()
    })
    this.#gunzip.on('end', () => this.#finish())
  }

  get consumed(): number {
    return this.#consumed
  }

  get damage(): string | null {
    return this.#damage
  }

  async read(buffer: Buffer, offset: number, maxBytes: number): Promise<number> {
    const chunk = await this.#next()
    if (chunk === null) return 0
    const length = chunk.copy(buffer, offset, 0, maxBytes)
    if (length < chunk.length) this.#ready.unshift(chunk.subarray(length))
    return length
  }

  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0;) {
      const chunk = await this.#next()
      if (chunk === null) return
      if (chunk.length > left) this.#ready.unshift(chunk.subarray(left))
      left -= chunk.length
    }
  }

  async close(): Promise<void> {
    this.#gunzip.destroy()
    await this.#file.close()
  }

  async #next(): Promise<Buffer | null> {
    while (this.#ready.length === 0) {
      if (this.#finished) return null
      await this.#feed()
    }
    return this.#ready.shift()!
  }

  /** Gives zlib one piece of the file, or its end, and waits until it has worked it off. */
  async #feed(): Promise<void> {
    const bytesRead = await this.#readPiece()
    this.#consumed += bytesRead
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (bytesRead === 0) this.#gunzip.end()
      else this.#gunzip.write(this.#piece.subarray(0, bytesRead), () => resolve())
    })
  }

  async #readPiece(): Promise<number> {
    try {
      return (await this.#file.read(this.#piece, 0, COMPRESSED_BYTES, this.#consumed)).bytesRead
    } catch (error) {
      throw fileError(this.#path, error)
    }
  }

  #finish(): void {
    this.#finished = true
    this.#wake?.()
  }
}
