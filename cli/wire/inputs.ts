import { files } from '../../bridge/files/files-input.ts'
import { pipe } from '../../bridge/files/pipe-input.ts'
import { generator } from '../../bridge/generator/generator-input.ts'
import type { SourceInput } from '../../bridge/reader.ts'
import { CliError } from '../errors.ts'
import type { LoadedPipeline } from '../pipelines/load.ts'
import type { Settings } from '../settings/settings.ts'

/** What each source of the pipeline reads, by its name. */
export type Inputs = ReadonlyMap<string, SourceInput>

/**
 * Binds each source: files where some are given, else the generator. Refuses here what can be refused before
 * anything is opened.
 * @throws CliError BAD_USAGE; SourceError UNKNOWN_FORMAT, and for files that cannot be read
 */
export async function bindInputs(loaded: LoadedPipeline, settings: Settings): Promise<Inputs> {
  const inputs = new Map<string, SourceInput>()
  for (const name of Object.keys(loaded.pipeline.sources)) {
    const input = await inputOf(name, loaded, settings)
    await input.prepare()
    inputs.set(name, input)
  }
  return inputs
}

/** What stands for standard input among the paths. */
const STDIN = '-'

async function inputOf(
  source: string,
  { pipeline, generators, formats }: LoadedPipeline,
  settings: Settings,
): Promise<SourceInput> {
  const { input, format, csvDelimiter, rate, count, badShare, seed, sinceMs } = settings
  if (input.length > 0) {
    if (Object.keys(pipeline.sources).length > 1) {
      throw new CliError(
        'BAD_USAGE',
        `pipeline '${pipeline.name}' has several sources: --input feeds one only.`,
      )
    }
    const { fields } = pipeline.sources[source]!.contract.schema
    const options = { fields, csvDelimiter, ownFormats: formats, ...(format !== null && { format }) }
    if (!input.includes(STDIN)) return files({ paths: input, ...options })
    if (input.length > 1) {
      throw new CliError('BAD_USAGE', `--input - is standard input, and nothing can stand beside it.`)
    }
    // A pipe that nobody closes must not hold up an end by Ctrl+C; of a file there is nothing to let go of.
    if ('unref' in process.stdin) process.stdin.unref()
    return pipe({ stream: process.stdin, name: 'stdin', ...options })
  }
  if (format !== null) {
    throw new CliError('BAD_USAGE', `--format ${format} says how files are written: name them with --input.`)
  }
  const maker = generators[source]
  if (maker === undefined) {
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${pipeline.name}' has no generator for '${source}': give files with --input.`,
    )
  }
  return generator({ maker, ratePerMinute: rate, count, badShare, seed, sinceMs })
}
