import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { systemClock } from '../../config/clock.ts'
import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { holderOf } from '../data-dir.ts'
import type { Io } from '../io.ts'
import { loadPipeline } from '../pipelines/load.ts'
import { planFor } from '../pipelines/plan-for.ts'
import { resolveSettings, type Settings } from '../settings/settings.ts'
import { onStopSignal } from '../signals.ts'
import { statusReport } from '../status/report.ts'
import { statusOf, type Status } from '../status/status.ts'
import { Watch } from '../status/watch.ts'
import { openLooks, type Looks } from '../wire/look.ts'
import { queryWarehouse } from '../wire/tables.ts'

export interface StatusArguments {
  readonly pipeline: string
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

const MOST_TABLES = 10_000

/**
 * Shows all processes of an application and how far each part of it is, from Kafka, Redis and the tables, or from
 * the data directory, also while a run has it: once, or again and again until it is stopped. Reads only.
 * @throws CliError, LogError, StateError
 */
export async function statusCommand({ pipeline: name, flags, io }: StatusArguments): Promise<void> {
  const settings = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  const { pipeline } = await loadPipeline(name, io.cwd)
  const json = flags['json'] === true
  const stop = new AbortController()
  const removeSignals = onStopSignal(() => stop.abort())
  const watch = flags['watch'] === true ? new Watch({ io, clock: systemClock, json }) : null
  const open = (): Promise<Looks> =>
    openLooks({
      settings: { ...settings, dataDir: resolve(io.cwd, settings.dataDir) },
      application: pipeline.name,
      clock: systemClock,
      notice: (message) => (watch === null ? void io.stderr.write(`${message}\n`) : watch.notice(message)),
      signal: stop.signal,
    })
  // A directory is opened for each look: what reads it keeps what it has found there.
  const connected = settings.stack === null ? null : await open()
  const look = async (): Promise<Status> => {
    const looks = connected ?? (await open())
    try {
      return await statusFrom(looks, pipeline, settings, io)
    } finally {
      if (connected === null) await looks.close()
    }
  }
  try {
    if (watch !== null) await watch.run(look, stop.signal)
    else {
      const status = await look()
      io.stdout.write(json ? `${JSON.stringify(status)}\n` : statusReport(status))
    }
  } finally {
    await connected?.close()
    removeSignals()
  }
}

async function statusFrom(looks: Looks, pipeline: Pipeline, settings: Settings, io: Io): Promise<Status> {
  const plan = await planFor(pipeline, settings.partitions, async (names) =>
    (await looks.log.admin.describeTopics(names)).map((topic) => topic?.partitions ?? null),
  )
  return await statusOf({
    log: looks.log,
    description: looks.description,
    plan,
    holder: settings.stack === null ? holderOf(resolve(io.cwd, settings.dataDir)) : null,
    lookAtState: (tasks) => looks.lookAtState(tasks),
    rows: () => rowsIn(resolve(io.cwd, settings.warehouse)),
  })
}

/** null: there are no tables here. */
async function rowsIn(directory: Settings['warehouse']): Promise<Map<string, number> | null> {
  if (!existsSync(join(directory, 'warehouse.duckdb'))) return null
  const { rows } = await queryWarehouse({
    directory,
    sql: `select case schema_name when 'main' then '' else schema_name || '.' end || table_name, estimated_size
            from duckdb_tables() where schema_name <> '_millrace'`,
    maxRows: MOST_TABLES,
  })
  return new Map(rows.map(([table, count]) => [table as string, Number(count)]))
}
