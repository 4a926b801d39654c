import type { ReaderContext } from '../reader.ts'
import { fileRecords, type FileRecord } from './file-record.ts'

/** What is known of all files that a source ever read, by real path, and of the finished ones by size. */
export class KnownFiles {
  readonly #records: Map<string, FileRecord>
  readonly #bySize = new Map<number, Set<string>>()

  constructor({ source, stored }: ReaderContext) {
    this.#records = fileRecords(source, stored)
    for (const [path, record] of this.#records) this.#index(path, record)
  }

  get(realPath: string): FileRecord | null {
    return this.#records.get(realPath) ?? null
  }

  set(realPath: string, record: FileRecord): void {
    this.#records.set(realPath, record)
    this.#index(realPath, record)
  }

  /** Files that were read to their end and were as long. */
  ofSize(size: number): [string, FileRecord][] {
    return [...(this.#bySize.get(size) ?? [])]
      .map((path): [string, FileRecord] => [path, this.#records.get(path)!])
      .filter(([, record]) => record.complete && record.size === size && record.position > 0)
  }

  #index(path: string, { size, complete }: FileRecord): void {
    if (!complete) return
    const paths = this.#bySize.get(size)
    if (paths === undefined) this.#bySize.set(size, new Set([path]))
    else paths.add(path)
  }
}
