import { files } from '../../bridge/files/files-input.ts'
import { pipe } from '../../bridge/files/pipe-input.ts'
import { generator } from '../../bridge/generator/generator-input.ts'
import type { SourceInput } from '../../bridge/reader.ts'
import { CliError } from '../errors.ts'
import type { LoadedPipeline } from '../pipelines/load.ts'
import { formatsBySource, pathsBySource, type SourceNames } from '../settings/by-source.ts'
import type { Settings } from '../settings/settings.ts'

/** What each source of the pipeline reads, by its name; none for those whose topic others write. */
export type Inputs = ReadonlyMap<string, SourceInput>

/** What stands for standard input among the paths. */
const STDIN = '-'
/** What stands for the generator, where other sources read files. */
const GENERATOR = 'generator'

/**
 * Binds each source: files where some are given, else the generator. Where one source has input, all have to: made-up
 * records among real ones are asked for by name. Refuses here what can be refused before anything is opened.
 * @throws CliError BAD_USAGE; SourceError UNKNOWN_FORMAT, and for files that cannot be read
 */
export async function bindInputs(loaded: LoadedPipeline, settings: Settings): Promise<Inputs> {
  const names = namesOf(loaded)
  if (names.own.length === 0) return refuseAnyInput(names, settings)
  const paths = pathsBySource(settings.input, names)
  checkAlone(paths)
  const formats = formatsBySource(settings.format, names)
  const reading = names.own.filter((source) => readsFiles(paths.get(source)))
  if (formats.all !== null && reading.length === 0) throw formatOfNothing(formats.all)
  const inputs = new Map<string, SourceInput>()
  for (const source of names.own) {
    const own = formats.bySource.get(source) ?? null
    const given = paths.get(source)
    if (reading.includes(source)) {
      inputs.set(source, await filesOf(source, given!, own ?? formats.all, loaded, settings))
      continue
    }
    if (own !== null) throw formatOfNothing(`${source}=${own}`)
    if (given === undefined && paths.size > 0) throw withoutInput(source, loaded)
    inputs.set(source, generatorOf(source, loaded, settings))
  }
  for (const input of inputs.values()) await input.prepare()
  return inputs
}

function namesOf({ pipeline }: LoadedPipeline): SourceNames {
  const own: string[] = []
  const foreign = new Map<string, string>()
  for (const [name, { options }] of Object.entries(pipeline.sources)) {
    if (options.topic === undefined) own.push(name)
    else foreign.set(name, options.topic)
  }
  return { pipeline: pipeline.name, own, foreign }
}

/** Of a pipeline that has nothing to bridge. */
function refuseAnyInput({ pipeline, foreign }: SourceNames, { input, format }: Settings): Inputs {
  const [given] = [...input.map((path) => `--input ${path}`), ...format.map((name) => `--format ${name}`)]
  if (given === undefined) return new Map()
  throw new CliError(
    'BAD_USAGE',
    `${given}: pipeline '${pipeline}' only reads topics that others write (${[...foreign.values()].join(', ')}). ` +
      'Leave it out.',
  )
}

function readsFiles(paths: readonly string[] | undefined): boolean {
  return paths !== undefined && !paths.includes(GENERATOR)
}

function checkAlone(paths: ReadonlyMap<string, readonly string[]>): void {
  const readers = [...paths].filter(([, given]) => given.includes(STDIN)).map(([source]) => `'${source}'`)
  if (readers.length > 1) {
    throw new CliError(
      'BAD_USAGE',
      `--input gives standard input to ${readers.join(' and ')}: one source can have it.`,
    )
  }
  for (const given of paths.values()) {
    const [what] = given.filter((path) => path === STDIN || path === GENERATOR)
    if (what === undefined || given.length === 1) continue
    const words = what === STDIN ? 'standard input' : `the generator (a file of that name is ./${what})`
    throw new CliError('BAD_USAGE', `--input ${what} is ${words}, and nothing can stand beside it.`)
  }
}

async function filesOf(
  source: string,
  paths: readonly string[],
  format: string | null,
  { pipeline, formats }: LoadedPipeline,
  { csvDelimiter }: Settings,
): Promise<SourceInput> {
  const { fields } = pipeline.sources[source]!.contract.schema
  const options = { fields, csvDelimiter, ownFormats: formats, ...(format !== null && { format }) }
  if (!paths.includes(STDIN)) return files({ paths, ...options })
  // A pipe that nobody closes must not hold up an end by Ctrl+C; of a file there is nothing to let go of.
  if ('unref' in process.stdin) process.stdin.unref()
  return await pipe({ stream: process.stdin, name: 'stdin', ...options })
}

function generatorOf(
  source: string,
  { pipeline, generators }: LoadedPipeline,
  { rate, count, badShare, seed, sinceMs }: Settings,
): SourceInput {
  const maker = generators[source]
  if (maker === undefined) {
    const input = Object.keys(pipeline.sources).length > 1 ? `${source}=FILE` : 'FILE'
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${pipeline.name}' has no generator for '${source}': give files with --input ${input}.`,
    )
  }
  return generator({ maker, ratePerMinute: rate, count, badShare, seed, sinceMs })
}

/** What of a merge is fed by half waits for the other half, for ever. */
function withoutInput(source: string, { pipeline, generators }: LoadedPipeline): CliError {
  const madeUp =
    generators[source] === undefined ? '' : `, or --input ${source}=${GENERATOR} for made-up records`
  return new CliError(
    'BAD_USAGE',
    `source '${source}' of pipeline '${pipeline.name}' has no input, while others have. Add --input ` +
      `${source}=FILE${madeUp}.`,
  )
}

function formatOfNothing(format: string): CliError {
  return new CliError('BAD_USAGE', `--format ${format} says how files are written: name them with --input.`)
}
