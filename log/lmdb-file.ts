/**
 * Looks at an lmdb file before lmdb does: that maps it into memory, and ends the whole process (SIGBUS, SIGSEGV)
 * where bytes that it counts on are not there.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'

const MAGIC = 0xbeefc0de
/** In a meta page; the two of them are the first pages, and the one with the later transaction holds. */
const AT = { magic: 0x18, pageBytes: 0x30, lastPage: 0x90, transaction: 0x98, end: 0xa0 } as const
/** Pages that the last transaction took and gave back may be missing at the end: nothing refers to them. */
const MOST_UNWRITTEN = { pages: 256, share: 1 / 8 }

/** @returns why the directory's file is none that lmdb can open; null: it can, or there is none yet */
export function lmdbDamage(directory: string): string | null {
  const path = join(directory, 'data.mdb')
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
  try {
    const { size } = fstatSync(file)
    // Made and not yet written, by a process that was killed.
    return size === 0 ? null : damageOf(path, file, size)
  } finally {
    closeSync(file)
  }
}

function damageOf(path: string, file: number, size: number): string | null {
  const first = metaAt(file, 0)
  if (first?.magic !== MAGIC) return `${path} is not a file of lmdb`
  const second = metaAt(file, first.pageBytes)
  if (second?.magic !== MAGIC) return `${path} has lost its beginning`
  const { lastPage, pageBytes } = second.transaction > first.transaction ? second : first
  const pages = Number(lastPage) + 1
  const missing = pages - Math.floor(size / pageBytes)
  if (missing <= Math.min(MOST_UNWRITTEN.pages, pages * MOST_UNWRITTEN.share)) return null
  return `${path} was cut: it has ${size} bytes, and had ${pages * pageBytes}`
}

function metaAt(file: number, position: number) {
  const bytes = Buffer.alloc(AT.end)
  if (readSync(file, bytes, 0, AT.end, position) < AT.end) return null
  return {
    magic: bytes.readUInt32LE(AT.magic),
    pageBytes: bytes.readUInt32LE(AT.pageBytes),
    lastPage: bytes.readBigUInt64LE(AT.lastPage),
    transaction: bytes.readBigUInt64LE(AT.transaction),
  }
}
