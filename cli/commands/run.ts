import { systemClock } from '../../config/clock.ts'
import { createLogger, type Logger } from '../../telemetry/log.ts'
import { openDataDir } from '../data-dir.ts'
import { CliError, EXIT } from '../errors.ts'
import type { Io } from '../io.ts'
import type { RunFigures } from '../live/figures.ts'
import { Reporter } from '../live/reporter.ts'
import { counted, formatCount, formatElapsed } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { loadPipeline } from '../pipelines/load.ts'
import { DEFAULT_DATA_DIR, resolveSettings, type Settings } from '../settings/settings.ts'
import { onStopSignal } from '../signals.ts'
import { checkStack } from '../wire/check.ts'
import { bindInputs } from '../wire/inputs.ts'
import { openRun, type Role, type Run } from '../wire/run.ts'

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
  const reporter = new Reporter({
    io,
    clock: systemClock,
    application: loaded.pipeline.name,
    roles,
    isFinite: settings.exitWhenDone,
    json: flags['json'] === true,
  })
  const logger = loggerOf(io, loaded.pipeline.name, (line) => reporter.error(line))
  const inputs = roles.includes('bridge') ? await bindInputs(loaded, settings) : new Map<string, never>()
  if (roles.length === 1 && roles.includes('bridge') && inputs.size === 0) {
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${loaded.pipeline.name}' has nothing to bridge: others write the topics that it reads.`,
    )
  }
  const stop = new AbortController()
  // Before anything is opened: a Ctrl+C while a large directory opens must end it cleanly too.
  const removeSignals = onStopSignal((signal) => {
    reporter.error(`${signal}: ending cleanly; once more ends at once (nothing is lost either way).\n`)
    stop.abort()
  })
  try {
    const directory = directoryOf(settings, roles)
    const dataDir = directory === null ? null : openDataDir(directory)
    try {
      const run = await openRun({
        loaded,
        roles: new Set(roles),
        settings,
        inputs,
        clock: systemClock,
        logger,
        signal: stop.signal,
        notice: (message) => reporter.notice(message),
      })
      try {
        await show({ run, roles, settings, stop: stop.signal, io, name, reporter })
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
  readonly reporter: Reporter
}

async function show({ run, roles, settings, stop, io, name, reporter }: Showing): Promise<void> {
  const startedMs = systemClock.nowMs()
  reporter.begin(run.bindings, () => run.figures())
  let outcome: 'drained' | 'stopped'
  try {
    outcome = await run.run(stop)
  } catch (error) {
    reporter.end('failed')
    throw error
  }
  if (!reporter.end(outcome)) return
  io.stdout.write(summary(run.figures(), roles, outcome, systemClock.nowMs() - startedMs))
  if (!roles.includes('sink')) return
  const where = settings.warehouse === DEFAULT_DATA_DIR ? '' : ` --data-dir ${settings.warehouse}`
  io.stdout.write(`Ask it: npx millrace query ${name}${where}\n`)
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

function loggerOf(io: Io, pipeline: string, write: (line: string) => void): Logger {
  try {
    return createLogger(io.env['MILLRACE_LOG_LEVEL'], { pipeline }, write)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CliError('BAD_SETTING', `MILLRACE_LOG_LEVEL: ${error.message}.`)
  }
}
