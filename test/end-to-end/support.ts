import { DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const BIN = join(import.meta.dirname, '..', '..', 'cli', 'millrace.js')

/** The wall clock's columns: all that may differ between two runs on the same input. */
const TIMES = ['processed_at', 'calculated_at', 'failed_at']

export interface Said {
  /** null: a signal ended it. */
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command on its way, in a process group of its own. */
export class Started {
  readonly pid: number
  readonly said: Promise<Said>
  /** Whether it printed its first line, what it is bound to, before it ended. */
  readonly bound: Promise<boolean>
  readonly #child: ChildProcess
  #stdout = ''

  constructor(child: ChildProcess) {
    this.#child = child
    this.pid = child.pid!
    let stderr = ''
    const bound = Promise.withResolvers<boolean>()
    child.stdout!.on('data', (text: Buffer) => {
      this.#stdout += text.toString()
      if (this.#stdout.includes('\n')) bound.resolve(true)
    })
    child.stderr!.on('data', (text: Buffer) => (stderr += text.toString()))
    this.bound = bound.promise
    this.said = once(child, 'close').then(([exitCode]) => {
      bound.resolve(false)
      return { exitCode: exitCode as number | null, stdout: this.#stdout, stderr }
    })
  }

  /** Resolves when it has printed this, or has ended. */
  async prints(what: RegExp): Promise<void> {
    while (!what.test(this.#stdout) && this.#child.exitCode === null) await sleep(20)
  }

  /** Ends the whole group. @returns whether the signal met a living process, and not one that had ended */
  async kill(signal: NodeJS.Signals): Promise<boolean> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(-this.pid, signal)
    await this.said
    return this.#child.signalCode === signal
  }
}

/** Starts `millrace` as a user does, in an environment without settings but for these. */
export function start(args: readonly string[], settings: Readonly<Record<string, string>> = {}): Started {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(MILLRACE_|KAFKA_)/.test(name))
  const env = [...inherited, ...Object.entries(settings)]
  return new Started(
    spawn(process.execPath, [BIN, ...args], {
      cwd: tmpdir(),
      env: Object.fromEntries(env),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    }),
  )
}

/** The arguments of `run orders` on files. */
export function ordersRun(directory: string, input: readonly string[], ...more: string[]): string[] {
  return ['run', 'orders', '--input', ...input, '--data-dir', directory, '--exit-when-done', ...more]
}

/** Runs `orders` on files until it ends, which it must do well. */
export async function runOrders(
  directory: string,
  input: readonly string[],
  ...more: string[]
): Promise<Said> {
  const said = await start(ordersRun(directory, input, ...more)).said
  assert.equal(said.exitCode, 0, said.stderr)
  return said
}

/** A directory for one test file, made when it is first asked for. */
export class Scratch {
  #path: string | null = null
  #directories = 0

  get path(): string {
    return (this.#path ??= mkdtempSync(join(tmpdir(), 'millrace-end-to-end-')))
  }

  /** A path where nothing is yet. */
  newDirectory(): string {
    return join(this.path, `data-${++this.#directories}`)
  }

  remove(): void {
    if (this.#path !== null) rmSync(this.#path, { recursive: true, force: true })
    this.#path = null
  }
}

/** The rows that a statement gives on the tables of a data directory that nothing runs on. */
export async function rowsOf(directory: string, sql: string): Promise<DuckDBValue[][]> {
  const instance = await DuckDBInstance.create(join(directory, 'warehouse.duckdb'), {
    access_mode: 'READ_ONLY',
    threads: '1',
  })
  try {
    const connection = await instance.connect()
    try {
      return (await connection.runAndReadAll(sql)).getRows()
    } finally {
      connection.closeSync()
    }
  } finally {
    instance.closeSync()
  }
}

/** All rows of all tables as text, but for the times that the wall clock gave. */
export async function tablesOf(directory: string): Promise<Map<string, string[]>> {
  const names = await rowsOf(
    directory,
    `select table_schema || '.' || table_name from information_schema.tables
      where table_schema <> '_millrace' order by all`,
  )
  const columns = `columns(c -> c not in (${TIMES.map((name) => `'${name}'`).join(', ')}))`
  const tables = new Map<string, string[]>()
  for (const [name] of names as string[][]) {
    const rows = await rowsOf(directory, `select t::varchar from (select ${columns} from ${name!}) t`)
    tables.set(name!, (rows as string[][]).map(([row]) => row!).sort())
  }
  return tables
}

/** The number of rows of each table, and a hash of them all: what two equal directories have in common. */
export async function digestsIn(directory: string): Promise<Record<string, string>> {
  const digest = (rows: readonly string[]): string =>
    createHash('sha256').update(JSON.stringify(rows)).digest('hex').slice(0, 16)
  const tables = [...(await tablesOf(directory))]
  return Object.fromEntries(tables.map(([name, rows]) => [name, `${rows.length} rows, ${digest(rows)}`]))
}
