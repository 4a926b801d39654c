/**
 * Kills one run of `orders` on the shared data with SIGKILL at random moments, starts it again each time until
 * it ends by itself, and compares its tables with those of a run that nobody disturbed.
 *
 *   npm run test:kills -- [--kills 20] [--seed 1]      (ONLINE_RETAIL_DIR names the data)
 */
import { parseArgs } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../bridge/generator/random.ts'
import { formatTable } from '../../cli/output/table.ts'
import { sharedMonths } from './shared-data.ts'
import { ordersRun, Scratch, start, tablesOf, type Started } from './support.ts'

const FORMAT = ['--format', 'online-retail']

/** What the slices of work between the kills of one run make together, of the work of an undisturbed one. */
const WORK_SHARE = 2

/** More runs than this end before they were killed often enough: something is wrong with the slices. */
const MAX_RUNS = 10

export interface KillsOptions {
  /** Of one run. */
  readonly kills: number
  readonly seed: number
  /** The files of the run, in order. */
  readonly months: readonly string[]
  readonly scratch: Scratch
  /** Told what happens. */
  readonly say: (line: string) => void
}

export interface TableDifference {
  readonly table: string
  readonly rows: number
  /** Rows that the undisturbed run has oftener. */
  readonly lost: number
  /** Rows that this run has oftener. */
  readonly doubled: number
  /** Rows that only this run has. */
  readonly foreign: number
}

export interface KilledRun {
  /** That hit a living process. */
  readonly kills: number
  readonly tables: readonly TableDifference[]
}

/**
 * Runs until one run was killed as often as asked for.
 * @returns every run that was made, the last of them with the kills
 * @throws Error where a run fails by itself
 */
export async function killRuns({ kills, seed, months, scratch, say }: KillsOptions): Promise<KilledRun[]> {
  const random = new Random().seed(seed, 0)
  const undisturbed = scratch.newDirectory()
  const { startMs, workMs } = await measure(undisturbed, months)
  const expected = await tablesOf(undisturbed)
  say(`seed ${seed}; undisturbed: ${startMs} ms to start, ${workMs} ms of work`)
  const runs: KilledRun[] = []
  let sliceMs = (workMs * WORK_SHARE) / kills
  while (runs.length < MAX_RUNS) {
    const directory = scratch.newDirectory()
    const done = await killOneRun(ordersRun(directory, months, ...FORMAT), kills, () =>
      momentOf(random, startMs, sliceMs),
    )
    runs.push({ kills: done, tables: differences(expected, await tablesOf(directory)) })
    if (done >= kills) return runs
    sliceMs /= 2
    say(`it ended by itself after ${done} kills: another run, with kills in quicker succession`)
  }
  throw new Error(`${MAX_RUNS} runs ended before they were killed ${kills} times; the machine is too uneven`)
}

/** When to kill a process: so long after it was started, or after it printed what it is bound to. */
interface Moment {
  readonly after: 'start' | 'bound'
  readonly ms: number
}

/** One in four dies while it opens; the work of the others adds up, with some long slices among many short. */
function momentOf(random: Random, startMs: number, sliceMs: number): Moment {
  if (random.unit() < 1 / 4) return { after: 'start', ms: random.unit() * startMs }
  return { after: 'bound', ms: -Math.log(1 - random.unit()) * sliceMs * 1.5 }
}

/** @returns how many kills hit a living process before the run ended by itself */
async function killOneRun(args: readonly string[], kills: number, next: () => Moment): Promise<number> {
  for (let done = 0; ; done++) {
    const process = start(args)
    if (done < kills && (await killAt(process, next()))) continue
    const { exitCode, stderr } = await process.said
    if (exitCode !== 0) throw new Error(`after ${done} kills the run failed (${String(exitCode)}): ${stderr}`)
    return done
  }
}

async function killAt(process: Started, { after, ms }: Moment): Promise<boolean> {
  if (after === 'bound') await process.bound
  const ended = new AbortController()
  void process.said.then(() => ended.abort())
  await sleep(ms, null, { signal: ended.signal }).catch(() => null)
  return process.kill('SIGKILL')
}

async function measure(
  directory: string,
  months: readonly string[],
): Promise<{ startMs: number; workMs: number }> {
  const begunMs = performance.now()
  const process = start(ordersRun(directory, months, ...FORMAT))
  await process.bound
  const boundMs = performance.now()
  const { exitCode, stderr } = await process.said
  if (exitCode !== 0) throw new Error(`the undisturbed run failed: ${stderr}`)
  return { startMs: Math.round(boundMs - begunMs), workMs: Math.round(performance.now() - boundMs) }
}

function differences(
  expected: ReadonlyMap<string, readonly string[]>,
  found: ReadonlyMap<string, readonly string[]>,
): TableDifference[] {
  return [...new Set([...expected.keys(), ...found.keys()])].sort().map((table) => {
    const rows = found.get(table) ?? []
    const surplus = countsOf(rows)
    const known = countsOf(expected.get(table) ?? [])
    let [lost, doubled, foreign] = [0, 0, 0]
    for (const [row, count] of known) lost += Math.max(0, count - (surplus.get(row) ?? 0))
    for (const [row, count] of surplus) {
      if (known.has(row)) doubled += Math.max(0, count - known.get(row)!)
      else foreign += count
    }
    return { table, rows: rows.length, lost, doubled, foreign }
  })
}

function countsOf(rows: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(row, (counts.get(row) ?? 0) + 1)
  return counts
}

/** Whether a table of a run differs from the undisturbed one's. */
export function isWrong({ lost, doubled, foreign }: TableDifference): boolean {
  return lost + doubled + foreign > 0
}

export function describeRuns(runs: readonly KilledRun[]): string {
  const names = ['kills', 'table', 'rows', 'rows lost', 'rows doubled', 'rows foreign']
  const columns = names.map((name) => ({ name, numeric: name !== 'table' }))
  const rows = runs.flatMap(({ kills, tables }) =>
    tables.map(({ table, rows, lost, doubled, foreign }) => [kills, table, rows, lost, doubled, foreign]),
  )
  return formatTable(columns, rows)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { kills: { type: 'string', default: '20' }, seed: { type: 'string' } },
  })
  const kills = Number(values.kills)
  const seed = Number(values.seed ?? Date.now() % 1_000_000)
  if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
    throw new Error('--kills and --seed are whole numbers, --kills at least 1.')
  }
  const scratch = new Scratch()
  try {
    const say = (line: string): void => console.log(line)
    const runs = await killRuns({ kills, seed, months: sharedMonths(), scratch, say })
    console.log(describeRuns(runs))
    if (runs.some(({ tables }) => tables.some(isWrong))) process.exitCode = 1
  } finally {
    scratch.remove()
  }
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error((error as Error).message)
    process.exitCode = 1
  })
}
