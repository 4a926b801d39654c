import { join } from 'node:path'
import { CliError } from '../errors.ts'
import type { Io } from '../io.ts'
import { resolveSettings } from '../settings/settings.ts'
import { processCount } from '../settings/values.ts'
import { onStopSignal } from '../signals.ts'
import { supervise, type Copy } from '../supervisor.ts'
import { checkStack } from '../wire/check.ts'

const PROGRAM = join(import.meta.dirname, '..', 'millrace.js')
const OPTION = '--processes'

export interface SuperviseArguments {
  /** The whole command line, the option included. */
  readonly argv: readonly string[]
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

/**
 * Runs a command as several processes, which share the partitions out among themselves.
 * @returns the exit code
 */
export async function superviseCommand({ argv, flags, io }: SuperviseArguments): Promise<number> {
  const origin = { where: OPTION, isSecret: false, cwd: io.cwd }
  const processes = processCount(flags['processes'] as string, origin)
  const settings = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  if (settings.stack === null) {
    throw new CliError(
      'NOT_SUPPORTED',
      `${OPTION} ${processes}: embedded, one process at a time has the data directory. Set KAFKA_BROKERS and ` +
        'REDIS_URL, or leave the option out.',
    )
  }
  checkStack(settings.stack, true)
  const args = withoutOption(argv)
  const { instance, metricsPort } = settings
  const copies = Array.from({ length: processes }, (_, i): Copy => {
    const hasOwnPort = metricsPort !== null && metricsPort !== 0
    return {
      args: hasOwnPort ? [...args, '--metrics-port', String(metricsPort + i)] : args,
      env: instance === null ? io.env : { ...io.env, MILLRACE_INSTANCE: `${instance}-${i + 1}` },
    }
  })
  const stop = new AbortController()
  const removeSignals = onStopSignal((signal) => {
    io.stderr.write(`${signal}: ending all ${processes} cleanly; once more ends them at once.\n`)
    stop.abort()
  })
  try {
    const { stdout, stderr } = io
    return await supervise({
      program: PROGRAM,
      copies,
      stdout,
      stderr,
      json: flags['json'] === true,
      signal: stop.signal,
    })
  } finally {
    removeSignals()
  }
}

function withoutOption(argv: readonly string[]): string[] {
  return argv.filter(
    (argument, i) => argument !== OPTION && argv[i - 1] !== OPTION && !argument.startsWith(`${OPTION}=`),
  )
}
