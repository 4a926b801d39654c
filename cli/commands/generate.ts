import { createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { RecordMaker } from '../../bridge/generator/generated-records.ts'
import { writeGenerated } from '../../bridge/generator/generator-input.ts'
import { systemClock } from '../../config/clock.ts'
import { CliError } from '../errors.ts'
import type { Io } from '../io.ts'
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
 * @throws CliError BAD_USAGE when the pipeline has no generator; the file system's errors
 */
export async function generateCommand({ pipeline: name, flags, io }: GenerateArguments): Promise<void> {
  const { rate, count, badShare, seed } = resolveSettings({
    flags: { ...flags, embedded: true },
    env: io.env,
    cwd: io.cwd,
  })
  const maker = makerOf(await loadPipeline(name, io.cwd))
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

function makerOf({ pipeline, generators }: LoadedPipeline): RecordMaker {
  const [first] = Object.values(generators)
  if (first !== undefined) return first
  throw new CliError(
    'BAD_USAGE',
    `pipeline '${pipeline.name}' has no generator: export 'generators' beside it, or give --input.`,
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
