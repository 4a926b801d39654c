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
import { checkStack } from '../wire/check.ts'
import { bindInputs } from '../wire/inputs.ts'
import { openRun, type Role, type Run, type RunFigures } from '../wire/run.ts'

export interface RunArguments {
  readonly pipeline: string
  /** `run` has all of them. */
  readonly roles: readonly Role[]
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

/**
 * Runs the roles of a pipeline until its finite input is drained or it is stopped.
 * @returns the exit code
 */
export async function runPipelineCommand({
  pipeline: name,
  roles,
  flags,
  io,
}: RunArguments): Promise<number> {
  const settings = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  if (settings.stack !== null) checkStack(settings.stack, roles.includes('process'))
  const loaded = await loadPipeline(name, io.cwd)
  const logger = loggerOf(io, loaded.pipeline.name)
  const inputs = roles.includes('bridge') ? await bindInputs(loaded, settings) : new Map<string, never>()
  const stop = new AbortController()
  // Before anything is opened: a Ctrl+C while a large directory opens must end it cleanly too.
  const removeSignals = onStopSignal((signal) => {
    io.stderr.write(`${signal}: ending cleanly; once more ends at once (nothing is lost either way).\n`)
    stop.abort()
  })
  try {
    const directory = directoryOf(settings, roles)
    const dataDir = directory === null ? null : openDataDir(directory)
    try {
      // Beside the output until its first line, what the run is bound to, can be told.
      const say = { notice: (message: string): void => void io.stderr.write(`${message}\n`) }
      const run = await openRun({
        loaded,
        roles: new Set(roles),
        settings,
        inputs,
        clock: systemClock,
        logger,
        signal: stop.signal,
        notice: (message) => say.notice(message),
      })
      try {
        await show({ run, roles, settings, stop: stop.signal, io, name, say })
      } finally {
        await run.close()
      }
    } catch (error) {
      // What waited for a server while it opened says so; it was told to end.
      if (!stop.signal.aborted) throw error
    } finally {
      dataDir?.release()
    }
    return EXIT.ok
  } finally {
    removeSignals()
  }
}

/** The directory that these roles need for themselves, or null: all that they keep is on servers. */
function directoryOf({ stack, dataDir, warehouse }: Settings, roles: readonly Role[]): string | null {
  if (stack === null) return dataDir
  return roles.includes('sink') ? warehouse : null
}

interface Showing {
  readonly run: Run
  readonly roles: readonly Role[]
  readonly settings: Settings
  readonly stop: AbortSignal
  readonly io: Io
  /** As the user named the pipeline. */
  readonly name: string
  /** Where the run's notices go; above the progress while there is one. */
  readonly say: { notice: (message: string) => void }
}

async function show({ run, roles, settings, stop, io, name, say }: Showing): Promise<void> {
  io.stdout.write(`${run.bindings}\n`)
  const startedMs = systemClock.nowMs()
  const progress = new Progress({ output: io.stdout, line: () => progressLine(run.figures(), roles) })
  say.notice = (message) => progress.say(message)
  let outcome: 'drained' | 'stopped'
  try {
    outcome = await run.run(stop)
  } finally {
    progress.stop()
  }
  io.stdout.write(summary(run.figures(), roles, outcome, systemClock.nowMs() - startedMs))
  if (!roles.includes('sink')) return
  const where = settings.warehouse === DEFAULT_DATA_DIR ? '' : ` --data-dir ${settings.warehouse}`
  io.stdout.write(`Ask it: npx millrace query ${name}${where}\n`)
}

function progressLine({ read, invalid, lag, tables }: RunFigures, roles: readonly Role[]): string {
  const rows = tables.reduce((sum, { written }) => sum + written, 0)
  return [
    ...(roles.includes('bridge')
      ? [`${counted(read, 'record')} read (${formatCount(invalid)} invalid)`]
      : []),
    `${formatCount(lag)} waiting`,
    ...(roles.includes('sink') ? [`${counted(rows, 'row')} written`] : []),
  ].join(', ')
}

function summary(
  figures: RunFigures,
  roles: readonly Role[],
  outcome: 'drained' | 'stopped',
  elapsedMs: number,
): string {
  const { read, invalid, behindWatermark, tables } = figures
  const ended = `${outcome === 'drained' ? 'Done' : 'Stopped'} after ${formatElapsed(elapsedMs)}`
  const lines = roles.includes('bridge')
    ? [`${ended}: ${counted(read, 'record')} read, ${formatCount(invalid)} of them invalid.`]
    : [`${ended}.`]
  if (behindWatermark > 0) {
    lines.push(`${counted(behindWatermark, 'record')} came later than the contract's disorder allows.`)
  }
  lines.push(...processed(figures))
  if (!roles.includes('sink')) return `${lines.join('\n')}\n`
  const columns = [
    { name: 'table', numeric: false },
    { name: 'rows written', numeric: true },
  ]
  const rows = tables.map(({ name, written }) => [name, formatCount(written)])
  return `${lines.join('\n')}\n\n${formatTable(columns, rows)}\n\n`
}

/** What the tasks did with the records beside processing them. */
function processed({ totals }: RunFigures): string[] {
  const of = (suffix: string): { node: string; count: number }[] =>
    [...totals]
      .filter(([name]) => name.endsWith(suffix))
      .map(([name, count]) => ({ node: name.slice(0, -suffix.length), count }))
  return [
    ...of('-dedupe.duplicates')
      .filter(({ count }) => count > 0)
      .map(({ node, count }) => `${counted(count, 'duplicate')} of '${node}' so far, dropped.`),
    ...of('.emptySkipped').map(
      ({ node, count }) =>
        `${counted(count, 'empty window')} of '${node}' in a row left out (maxEmptyWindows).`,
    ),
    ...of('.late')
      .filter(({ count }) => count > 0)
      .map(({ node, count }) => `${counted(count, 'late record')} of '${node}' so far, in its late stream.`),
  ]
}

function loggerOf(io: Io, pipeline: string): Logger {
  try {
    return createLogger(io.env['MILLRACE_LOG_LEVEL'], { pipeline })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CliError('BAD_SETTING', `MILLRACE_LOG_LEVEL: ${error.message}.`)
  }
}
