import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBBlobValue, DuckDBInstance, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api'

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'millrace-sinks-'))
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

/** Rows of a file that nobody has open, as plain values: times as epoch milliseconds, bytes as Uint8Array. */
export async function readFile(path: string, sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(path, { access_mode: 'READ_ONLY' })
  const connection = await instance.connect()
  try {
    const result = await connection.runAndReadAll(sql)
    return result.getRowObjects().map((row) => {
      return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]))
    })
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

function plain(value: DuckDBValue): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof DuckDBTimestampValue) return Number(value.micros) / 1000
  if (value instanceof DuckDBBlobValue) return new Uint8Array(value.bytes)
  return value
}
