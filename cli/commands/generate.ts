import { createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { RecordMaker } from '../../bridge/generator/generated-records.ts'
import { writeGenerated } from '../../bridge/generator/generator-input.ts'
import { systemClock } from '../../config/clock.ts'
import { CliError } from '../errors.ts'
import type { Io } from '../io.ts'
import { suggestion } from '../nearest.ts'
import { counted } from '../output/format.ts'
import { loadPipeline, type LoadedPipeline } from '../pipelines/load.ts'
import { resolveSettings } from '../settings/settings.ts'

export interface GenerateArguments {
  readonly pipeline: string
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

const DEFAULT_COUNT = 1_000

/**
 * Writes made-up input of the pipeline as NDJSON, to standard output or a file.
 * @throws CliError BAD_USAGE when the pipeline has no generator, or several and nothing says which; the file system's errors
 */
export async function generateCommand({ pipeline: name, flags, io }: GenerateArguments): Promise<void> {
  const { rate, count, badShare, seed } = resolveSettings({
    flags: { ...flags, embedded: true },
    env: io.env,
    cwd: io.cwd,
  })
  const maker = makerOf(await loadPipeline(name, io.cwd), flags['source'] as string | undefined)
  const options = { maker, seed, badShare, ratePerMinute: rate, count: count ?? DEFAULT_COUNT }
  const out = flags['out'] as string | undefined
  if (out === undefined) {
    await writeGenerated(toStdout(io), options, systemClock.nowMs())
    return
  }
  const file = createWriteStream(resolve(io.cwd, out))
  const written = finished(file)
  // A path that cannot be written fails here, while nobody awaits `written` yet.
  written.catch(() => undefined)
  await Promise.race([writeGenerated(file, options, systemClock.nowMs()), written])
  file.end()
  await written
  io.stderr.write(`${counted(options.count, 'record')} in ${out}\n`)
}

function makerOf({ pipeline, generators }: LoadedPipeline, source: string | undefined): RecordMaker {
  const names = Object.keys(generators)
  const [first, ...others] = names
  if (first === undefined) {
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${pipeline.name}' has no generator: export 'generators' beside it, or give --input.`,
    )
  }
  if (source === undefined && others.length > 0) {
    throw new CliError(
      'BAD_USAGE',
      `pipeline '${pipeline.name}' has several generators. Say which: --source ${names.join(' or --source ')}.`,
    )
  }
  const maker = generators[source ?? first]
  if (maker !== undefined) return maker
  throw new CliError(
    'BAD_USAGE',
    `--source ${source!}: pipeline '${pipeline.name}' has no generator of that name. ${suggestion(source!, names)}`,
  )
}

/** Standard output as a stream; real ones report when they are full, and are waited for. */
function toStdout({ stdout }: Io): Writable {
  if (stdout instanceof Writable) return stdout
  return new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      stdout.write(chunk)
      done()
    },
  })
}
