import type { FieldDefinition } from '../../schemas/fields.ts'
import type { Format } from '../adapters/format.ts'
import { checkFormatName, formatNamed, formatOf, type OwnFormats } from '../adapters/formats.ts'
import type { ReaderContext, SourceInput, SourceReader } from '../reader.ts'
import type { CursorLimits } from './cursor.ts'
import { FilesReader } from './files-reader.ts'
import { checkBeginning } from './open-cursor.ts'
import { areNamed, lookAtPaths, shownPath, type InputPath } from './paths.ts'

export interface FormatOptions {
  /** Of {@link formatNamed}. Default: by each file's name and content. */
  readonly format?: string
  /** Of the pipeline itself, by name. */
  readonly ownFormats?: OwnFormats
  /** Of the contract, by which columns are checked, and text is cast. Default: not known. */
  readonly fields?: readonly FieldDefinition[]
  /** Of CSV. Default: found from the header. */
  readonly csvDelimiter?: string | null
  /** A longer record becomes a dead letter. Default 1 MiB. */
  readonly maxRecordBytes?: number
  /** What such a dead letter keeps of its record. Default 16 MiB. */
  readonly maxPayloadBytes?: number
  /** Read at once. Default 256 KiB. */
  readonly chunkBytes?: number
}

export interface FilesOptions extends FormatOptions {
  /** Files, directories and patterns, read in this order; gzip is known by its content. */
  readonly paths: readonly string[]
  /** Between two looks at files that may have grown, where they are tailed. Default 250. */
  readonly pollMs?: number
  /** A live file that stood still for so long has ended, as far as an unfinished end goes. Default 60,000. */
  readonly settleMs?: number
}

export interface FileSettings {
  readonly limits: CursorLimits
  readonly fields: readonly FieldDefinition[]
  readonly csvDelimiter: string | null
  readonly pollMs: number
  readonly settleMs: number
  formatOf(file: InputPath): Promise<Format>
}

/**
 * Files as a source's input.
 * @throws SourceError UNKNOWN_FORMAT
 */
export function files(options: FilesOptions): SourceInput {
  const { paths, format, ownFormats, fields = [] } = options
  const { csvDelimiter = null, pollMs = 250, settleMs = 60_000 } = options
  if (format !== undefined) checkFormatName(format, ownFormats)
  return new FilesInput(paths, format ?? null, {
    limits: limitsOf(options),
    fields,
    csvDelimiter,
    pollMs,
    settleMs,
    formatOf: (file) => (format === undefined ? formatOf(file) : formatNamed(format, ownFormats)),
  })
}

export function limitsOf({
  maxRecordBytes = 1 << 20,
  maxPayloadBytes,
  chunkBytes,
}: FormatOptions): CursorLimits {
  return {
    maxRecordBytes,
    maxPayloadBytes: Math.max(maxPayloadBytes ?? 16 << 20, maxRecordBytes),
    chunkBytes: chunkBytes ?? 256 << 10,
  }
}

class FilesInput implements SourceInput {
  readonly disorderMs = null
  readonly #paths: readonly string[]
  readonly #format: string | null
  readonly #settings: FileSettings
  /** Names of the formats that were found. */
  readonly #found = new Set<string>()

  constructor(paths: readonly string[], format: string | null, settings: FileSettings) {
    this.#paths = paths
    this.#format = format
    this.#settings = settings
  }

  get description(): string {
    const [first] = this.#paths
    const what = this.#paths.length === 1 ? shownPath(first!) : `${this.#paths.length} paths`
    const found = this.#found.size === 0 ? 'format by name and content' : [...this.#found].join(', ')
    return `${what} (${this.#format ?? found})`
  }

  /** What a directory or a pattern holds is judged when it is read: it may change until then. */
  async prepare(): Promise<void> {
    const { files } = await lookAtPaths(this.#paths)
    for (const file of files) if (file.isNamed) await this.#check(file)
  }

  async open(context: ReaderContext): Promise<SourceReader> {
    const isWatched = !(await areNamed(this.#paths))
    const look = await lookAtPaths(this.#paths)
    if (context.finite) {
      const [problem] = look.problems
      if (problem !== undefined) throw problem
      for (const file of look.files) if (!file.isNamed) await this.#check(file)
      if (isWatched && look.files.length === 0) this.#sayEmpty(context)
    }
    const reader = new FilesReader({ paths: this.#paths, isWatched, look, settings: this.#settings, context })
    await reader.verify()
    return reader
  }

  async #check(file: InputPath): Promise<void> {
    if (file.size === 0) return
    const { limits, fields, csvDelimiter } = this.#settings
    const format = await this.#settings.formatOf(file)
    this.#found.add(format.name)
    await checkBeginning(format, { path: file.path, limits, fields, csvDelimiter })
  }

  #sayEmpty({ source, notice }: ReaderContext): void {
    const message = `there is no file to read in ${this.#paths.map(shownPath).join(', ')}.`
    notice({ code: 'FILE_REFUSED', source, message })
  }
}
