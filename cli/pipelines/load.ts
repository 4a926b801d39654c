import { readdir } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { TextFormat } from '../../bridge/adapters/format.ts'
import type { RecordMaker } from '../../bridge/generator/generated-records.ts'
import { Graph } from '../../processor/topology/graph.ts'
import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { CliError } from '../errors.ts'
import { suggestion } from '../nearest.ts'
import { checkFile, explain, noPipeline } from './errors.ts'
import { shareOwnModules } from './own-modules.ts'

const SHIPPED = join(import.meta.dirname, '..', '..', 'pipelines')

/** What a pipeline's module exports beside the pipeline, its default. */
interface PipelineModule {
  readonly default?: unknown
  /** What generated records look like, by source. */
  readonly generators?: Readonly<Record<string, RecordMaker>>
  /** Formats of its own, by the name that --format calls them. */
  readonly formats?: Readonly<Record<string, TextFormat>>
}

export interface LoadedPipeline {
  readonly pipeline: Pipeline
  readonly generators: Readonly<Record<string, RecordMaker>>
  readonly formats: Readonly<Record<string, TextFormat>>
  /** Where it was read from. */
  readonly file: string
}

/** The names that can stand for a path. */
export async function shippedPipelines(): Promise<string[]> {
  const entries = await readdir(SHIPPED, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

/**
 * A shipped pipeline by its name, or one's own by its path (anything with a slash or an extension).
 * @throws CliError UNKNOWN_PIPELINE, PIPELINE_NOT_LOADED; TopologyError and SchemaError as the pipeline's own fault
 */
export async function loadPipeline(nameOrPath: string, cwd: string): Promise<LoadedPipeline> {
  const isPath = /[\\/]|\.[cm]?[jt]s$/.test(nameOrPath)
  if (isPath) return await importPipeline(resolve(cwd, nameOrPath), cwd)
  const names = await shippedPipelines()
  if (!names.includes(nameOrPath)) {
    throw new CliError(
      'UNKNOWN_PIPELINE',
      `there is no pipeline '${nameOrPath}'. ${suggestion(nameOrPath, names)} ` +
        `One of your own is named by its path: ./${nameOrPath}.ts`,
    )
  }
  return await importPipeline(join(SHIPPED, nameOrPath, `index${extname(import.meta.filename)}`), cwd)
}

async function importPipeline(file: string, cwd: string): Promise<LoadedPipeline> {
  checkFile(file, cwd)
  shareOwnModules()
  let module: PipelineModule
  try {
    module = (await import(pathToFileURL(file).href)) as PipelineModule
  } catch (error) {
    throw await explain(error, file, cwd)
  }
  const { default: pipeline, generators = {}, formats = {} } = module
  if (!isPipeline(pipeline)) throw noPipeline(file, cwd, { ...module })
  return { pipeline, generators, formats, file }
}

function isPipeline(value: unknown): value is Pipeline {
  return typeof value === 'object' && value !== null && 'graph' in value && value.graph instanceof Graph
}
