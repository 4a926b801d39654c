import type { Format } from '../adapters/format.ts'
import type { FileRecord } from './file-record.ts'
import type { InputPath } from './paths.ts'
import { PrefixHash } from './prefix-hash.ts'

/** A file on its way. */
export interface TrackedFile {
  /** As it was looked at last. */
  input: InputPath
  readonly fileTimeMs: number
  format: Format | null
  /** Of what was read; its length is the position. */
  prefix: PrefixHash
  lines: number
  state: string | null
  /** As it was stored last; null: not yet. */
  stored: FileRecord | null
  complete: boolean
  consumed: number
  /** Whether this run has read it to the end that it had then. */
  atEnd: boolean
  /** Whether it stood still for so long that its end is taken for one. */
  settled: boolean
  /** The same content as a file that was read before. */
  skipped: boolean
  isGzip: boolean
  /** The version that is left alone; it is looked at again when it has changed. */
  refused: string | null
  /** Whether it is to be compared with what was read of it, before more is. */
  unverified: boolean
  /** Where an unfinished end was spoken of. */
  saidUnfinishedAt: number
}

/** A file that is to be read from where it stood. */
export function track(input: InputPath, stored: FileRecord | null): TrackedFile {
  return {
    input,
    fileTimeMs: stored?.fileTimeMs ?? input.modifiedMs,
    format: null,
    prefix: new PrefixHash(),
    lines: stored?.lines ?? 0,
    state: stored?.state ?? null,
    stored,
    complete: stored?.complete ?? false,
    consumed: 0,
    atEnd: false,
    settled: false,
    skipped: false,
    isGzip: false,
    refused: null,
    unverified: stored !== null && stored.position > 0,
    saidUnfinishedAt: -1,
  }
}

/** What is to be stored of it as it is now. */
export function recordOf(file: TrackedFile): FileRecord {
  const { prefix, lines, state, complete, fileTimeMs, consumed, input } = file
  // It may have grown while it was read.
  const size = Math.max(input.size, consumed)
  return { position: prefix.length, lines, state, size, complete, fileTimeMs, ...prefix.digest() }
}
