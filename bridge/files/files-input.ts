import { formatNamed } from '../adapters/formats.ts'
import type { ReaderContext, SourceInput, SourceReader } from '../reader.ts'
import type { Format } from '../adapters/format.ts'
import { FilesReader } from './files-reader.ts'
import { lookAtPaths, type InputPath } from './paths.ts'
import { openBytes } from './byte-input.ts'
import { checkHeader } from './file-cursor.ts'

export interface FilesOptions {
  /** Read in this order; gzip is known by its content. */
  readonly paths: readonly string[]
  /** Of {@link formats}. Default `ndjson`. */
  readonly format?: string
  /** A longer record becomes a dead letter. Default 1 MiB. */
  readonly maxRecordBytes?: number
  /** What such a dead letter keeps of its record. Default 16 MiB. */
  readonly maxPayloadBytes?: number
  /** Read at once. Default 256 KiB. */
  readonly chunkBytes?: number
  /** Between two looks at files that may have grown, where they are tailed. Default 250. */
  readonly pollMs?: number
}

export interface FileSettings {
  readonly format: Format
  readonly maxRecordBytes: number
  readonly maxPayloadBytes: number
  readonly chunkBytes: number
  readonly pollMs: number
}

/**
 * Files as a source's input.
 * @throws SourceError UNKNOWN_FORMAT
 */
export function files(options: FilesOptions): SourceInput {
  const { paths, maxRecordBytes = 1 << 20, chunkBytes = 256 << 10, pollMs = 250 } = options
  const format = formatNamed(options.format ?? 'ndjson')
  const maxPayloadBytes = Math.max(options.maxPayloadBytes ?? 16 << 20, maxRecordBytes)
  return new FilesInput(paths, { format, maxRecordBytes, maxPayloadBytes, chunkBytes, pollMs })
}

class FilesInput implements SourceInput {
  readonly disorderMs = null
  readonly #paths: readonly string[]
  readonly #settings: FileSettings

  constructor(paths: readonly string[], settings: FileSettings) {
    this.#paths = paths
    this.#settings = settings
  }

  get description(): string {
    const [first] = this.#paths
    const what = this.#paths.length === 1 ? first! : `${this.#paths.length} files`
    return `${what} (${this.#settings.format.name})`
  }

  async prepare(): Promise<void> {
    for (const { path } of await lookAtPaths(this.#paths)) await checkHead(path, this.#settings.format)
  }

  async open(context: ReaderContext): Promise<SourceReader> {
    const inputs: readonly InputPath[] = await lookAtPaths(this.#paths)
    const reader = new FilesReader(inputs, this.#settings, context)
    await reader.verify()
    return reader
  }
}

/** Refuses a file of another format before anything is written, if its first line is whole already. */
async function checkHead(path: string, format: Format): Promise<void> {
  if (format.header === null) return
  const head = Buffer.alloc(format.header.length + 5)
  const input = await openBytes(path, 0)
  try {
    let length = 0
    for (let bytes = -1; bytes !== 0 && length < head.length; length += bytes) {
      bytes = await input.read(head, length, head.length - length)
    }
    const line = /^\ufeff?([^\r\n]*)(\r?\n)?/.exec(head.toString('utf8', 0, length))!
    const whole = line[2] !== undefined || length === head.length
    if (whole) checkHeader(path, format, line[1]!)
  } finally {
    await input.close()
  }
}
