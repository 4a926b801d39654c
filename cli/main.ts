import { EXIT, reportError } from './errors.ts'
import { runCommand } from './program.ts'
import { SUPERVISED } from './supervisor.ts'

// Whoever reads our output may stop early (`| head`): that is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok)
  throw error
})

// lmdb prints a commit that failed beside rejecting it: we say it once, in our words.
const { error: print } = console
Object.assign(console, {
  error: (...words: unknown[]) => {
    const [first] = words
    if (!(first instanceof Error && /[\\/]lmdb[\\/]/.test(first.stack ?? ''))) print(...words)
  },
})

function fail(error: unknown): never {
  process.stderr.write(`${reportError(error).text}\n`)
  process.exit(EXIT.failure)
}
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)

if (process.env[SUPERVISED] !== undefined) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  // What is only listened to keeps nobody alive.
  process.channel?.unref()
}

process.exitCode = await runCommand(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
})
