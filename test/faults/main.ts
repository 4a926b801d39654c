/**
 * Runs `orders` on real servers while they, the processes and the connections between them are broken, lets it
 * drain, and compares every row of every topic with what the input alone gives.
 *
 *   npm run test:faults -- [--kills 200] [--seed 1] [--workers 3] [--stage one|three] [--rate 100]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatTable } from '../../cli/output/table.ts'
import { testScale } from '../../config/test-scale.ts'
import { verdictReport } from './report.ts'
import { runStage, type StageResult } from './stage.ts'
import { isWrong } from './verify.ts'

const STAGES = {
  one: { name: 'one broker, one Redis', brokers: 1, hasSentinel: false },
  three: { name: 'three brokers, Redis with Sentinel', brokers: 3, hasSentinel: true },
} as const

type StageName = keyof typeof STAGES

interface Asked {
  readonly kills: number
  readonly seed: number
  readonly workers: number
  readonly rate: number
  readonly stages: readonly StageName[]
}

function asked(args: readonly string[]): Asked {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: String(testScale.faultKills) },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      workers: { type: 'string', default: '3' },
      rate: { type: 'string', default: '100' },
      stage: { type: 'string' },
    },
  })
  const number = (name: 'kills' | 'seed' | 'workers' | 'rate', least: number): number => {
    const value = Number(values[name])
    if (Number.isInteger(value) && value >= least) return value
    throw new Error(`--${name} is a whole number, ${least} or more.`)
  }
  const { stage } = values
  if (stage !== undefined && stage !== 'one' && stage !== 'three') throw new Error('--stage is one or three.')
  return {
    kills: number('kills', 1),
    seed: number('seed', 0),
    workers: number('workers', 1),
    rate: number('rate', 4),
    stages: stage === undefined ? ['one', 'three'] : [stage],
  }
}

async function main(args: readonly string[]): Promise<boolean> {
  const { kills, seed, workers, rate, stages } = asked(args)
  console.log(`seed ${seed}, ${workers} workers, ${rate} orders a second`)
  const directory = mkdtempSync(join(tmpdir(), 'millrace-faults-'))
  const results: StageResult[] = []
  for (const [index, stage] of stages.entries()) {
    const share =
      Math.floor((kills * (index + 1)) / stages.length) - Math.floor((kills * index) / stages.length)
    const result = await runStage({
      ...STAGES[stage],
      kills: share,
      workers,
      linesPerSecond: rate,
      seed: seed + index,
      directory: join(directory, stage),
      say: (line) => console.log(line),
    })
    results.push(result)
    console.log(report(result))
  }
  const isGood = results.every(({ verdict, failures }) => !isWrong(verdict) && failures.length === 0)
  if (isGood) rmSync(directory, { recursive: true, force: true })
  else console.log(`What the processes said is in ${directory}; the same orders again: --seed ${seed}`)
  return isGood
}

function report({ name, lines, writtenInStorm, kills, faults, verdict, failures }: StageResult): string {
  return [
    `\n${name}: ${kills} processes killed; ${lines} lines were fed in, ${writtenInStorm} orders came out meanwhile`,
    formatTable(
      [
        { name: 'fault', numeric: false },
        { name: 'injected', numeric: true },
      ],
      [...faults].sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    verdictReport(verdict),
    ...failures,
  ].join('\n')
}

await main(process.argv.slice(2)).then(
  (isGood) => {
    process.exitCode = isGood ? 0 : 1
  },
  (error: unknown) => {
    console.error((error as Error).message)
    process.exitCode = 1
  },
)
