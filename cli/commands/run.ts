import { systemClock } from '../../config/clock.ts'
import { createLogger, type Logger } from '../../telemetry/log.ts'
import { openDataDir } from '../data-dir.ts'
import { CliError, EXIT } from '../errors.ts'
import { counted, formatCount, formatElapsed } from '../format.ts'
import type { Io } from '../io.ts'
import { loadPipeline } from '../pipelines.ts'
import { Progress } from '../progress.ts'
import { DEFAULT_DATA_DIR, resolveSettings, type Settings } from '../settings.ts'
import { onStopSignal } from '../signals.ts'
import { formatTable } from '../table.ts'
import { bindInputs, openRun, type Run, type RunFigures } from '../wire.ts'

export interface RunArguments {
  readonly pipeline: string
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

/**
 * Runs a pipeline until its finite input is drained or it is stopped.
 * @returns the exit code
 */
export async function runPipelineCommand({ pipeline: name, flags, io }: RunArguments): Promise<number> {
  const settings = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  const loaded = await loadPipeline(name, io.cwd)
  const logger = loggerOf(io, loaded.pipeline.name)
  const inputs = await bindInputs(loaded, settings)
  const stop = new AbortController()
  // Before anything is opened: a Ctrl+C while a large directory opens must end it cleanly too.
  const removeSignals = onStopSignal((signal) => {
    io.stderr.write(`${signal}: ending cleanly; once more ends at once (nothing is lost either way).\n`)
    stop.abort()
  })
  try {
    const dataDir = openDataDir(settings.dataDir)
    try {
      const say = { notice: (message: string): void => void io.stdout.write(`${message}\n`) }
      const run = await openRun({
        loaded,
        inputs,
        partitions: settings.partitions,
        finite: settings.exitWhenDone,
        directory: dataDir.path,
        clock: systemClock,
        logger,
        notice: (message) => say.notice(message),
      })
      try {
        await show({ run, settings, stop: stop.signal, io, name, say })
      } finally {
        await run.close()
      }
    } finally {
      dataDir.release()
    }
    return EXIT.ok
  } finally {
    removeSignals()
  }
}

interface Showing {
  readonly run: Run
  readonly settings: Settings
  readonly stop: AbortSignal
  readonly io: Io
  /** As the user named the pipeline. */
  readonly name: string
  /** Where the run's notices go; above the progress while there is one. */
  readonly say: { notice: (message: string) => void }
}

async function show({ run, settings, stop, io, name, say }: Showing): Promise<void> {
  io.stdout.write(`${run.bindings}\n`)
  const startedMs = systemClock.nowMs()
  const progress = new Progress({ output: io.stdout, line: () => progressLine(run.figures()) })
  say.notice = (message) => progress.say(message)
  let outcome: 'drained' | 'stopped'
  try {
    outcome = await run.run(stop)
  } finally {
    progress.stop()
  }
  io.stdout.write(summary(run.figures(), outcome, systemClock.nowMs() - startedMs))
  const where = settings.dataDir === DEFAULT_DATA_DIR ? '' : ` --data-dir ${settings.dataDir}`
  io.stdout.write(`Ask it: npx millrace query ${name}${where}\n`)
}

function progressLine({ read, invalid, lag, tables }: RunFigures): string {
  const rows = tables.reduce((sum, { written }) => sum + written, 0)
  return `${counted(read, 'record')} read (${formatCount(invalid)} invalid), ${formatCount(lag)} waiting, ${counted(rows, 'row')} written`
}

function summary(figures: RunFigures, outcome: string, elapsedMs: number): string {
  const { read, invalid, behindWatermark, tables, totals } = figures
  const lines = [
    `${outcome === 'drained' ? 'Done' : 'Stopped'} after ${formatElapsed(elapsedMs)}: ` +
      `${counted(read, 'record')} read, ${formatCount(invalid)} of them invalid.`,
  ]
  if (behindWatermark > 0) {
    lines.push(`${counted(behindWatermark, 'record')} came later than the contract's disorder allows.`)
  }
  const duplicates = [...totals].filter(([name, count]) => name.endsWith('-dedupe.duplicates') && count > 0)
  for (const [name, count] of duplicates) {
    const source = name.slice(0, -'-dedupe.duplicates'.length)
    lines.push(`${counted(count, 'duplicate')} of '${source}' so far, dropped.`)
  }
  for (const [name, count] of totals) {
    if (!name.endsWith('.emptySkipped')) continue
    const node = name.slice(0, -'.emptySkipped'.length)
    lines.push(`${counted(count, 'empty window')} of '${node}' in a row left out (maxEmptyWindows).`)
  }
  const late = [...totals].filter(([name, count]) => name.endsWith('.late') && count > 0)
  for (const [name, count] of late) {
    lines.push(
      `${counted(count, 'late record')} of '${name.slice(0, -'.late'.length)}' so far, in its late stream.`,
    )
  }
  const columns = [
    { name: 'table', numeric: false },
    { name: 'rows written', numeric: true },
  ]
  const rows = tables.map(({ name, written }) => [name, formatCount(written)])
  return `${lines.join('\n')}\n\n${formatTable(columns, rows)}\n\n`
}

function loggerOf(io: Io, pipeline: string): Logger {
  try {
    return createLogger(io.env['MILLRACE_LOG_LEVEL'], { pipeline })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CliError('BAD_SETTING', `MILLRACE_LOG_LEVEL: ${error.message}.`)
  }
}
