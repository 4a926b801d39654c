/**
 * `npm run bench [-- --events 2000000 --memory 4000000]`: generated orders through `orders`, embedded,
 * beside a plain Node script over the same file (bench/plain-orders.ts). Prints events/s, CPU-seconds
 * per million events, peak memory, and the ratio to the plain script; then memory over growing input.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Measurement } from './measure.ts'

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '2000000' },
    memory: { type: 'string', default: '1000000,4000000' },
  },
})
const events = Number(values.events)
const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
const preload = new URL('./measure.ts', import.meta.url).href
const command = new URL('../cli/millrace.js', import.meta.url).pathname
const plain = new URL('./plain-orders.ts', import.meta.url).pathname

/** Runs a program as a user would, by its own first line, and measures it from inside. */
function run(program: string, ...args: readonly string[]): Measurement {
  const file = join(directory, 'measurement.json')
  const { status, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: `--import ${preload}`, MEASURE_FILE: file, KAFKA_BROKERS: '' },
    maxBuffer: 64 * 1024 * 1024,
  })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stderr}`)
  return JSON.parse(readFileSync(file, 'utf8')) as Measurement
}

function generate(count: number): string {
  const file = join(directory, `orders-${count}.ndjson`)
  run(command, 'generate', 'orders', '--count', String(count), '--seed', '1', '--out', file)
  return file
}

function millrace(input: string, name: string): Measurement {
  const dataDir = join(directory, name)
  const args = [
    'run',
    'orders',
    '--format',
    'ndjson',
    '--input',
    input,
    '--data-dir',
    dataDir,
    '--exit-when-done',
  ]
  const measurement = run(command, ...args)
  rmSync(dataDir, { recursive: true })
  return measurement
}

function row(name: string, count: number, measured: Measurement, reference?: Measurement): string[] {
  return [
    name,
    String(count),
    Math.round(count / measured.wallSeconds).toLocaleString('en'),
    ((measured.cpuSeconds / count) * 1e6).toFixed(2),
    measured.peakAnonMiB.toFixed(0),
    measured.peakFileMiB.toFixed(0),
    reference === undefined ? '' : (measured.cpuSeconds / reference.cpuSeconds).toFixed(2),
  ]
}

function print(rows: readonly string[][]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  for (const cells of rows) console.log(cells.map((cell, i) => cell.padStart(widths[i]!)).join('  '))
}

const HEADER = [
  '',
  'events',
  'events/s',
  'CPU-s per million',
  'peak anon MiB',
  'file MiB',
  'CPU ratio to plain',
]

try {
  const input = generate(events)
  const reference = run(process.execPath, plain, input, join(directory, 'plain.duckdb'))
  const rows = [
    HEADER,
    row('plain Node', events, reference),
    row('millrace', events, millrace(input, 'speed'), reference),
  ]
  rmSync(input)
  for (const count of values.memory
    .split(',')
    .map(Number)
    .filter((n) => n > 0)) {
    const file = generate(count)
    rows.push(row('millrace', count, millrace(file, `memory-${count}`)))
    rmSync(file)
  }
  print(rows)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
