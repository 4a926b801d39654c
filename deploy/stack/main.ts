/**
 * Servers to run pipelines against, without containers:
 *
 *   npm run --silent stack -- up kafka redis registry    prints the environment, stays until Ctrl+C
 *   eval "$(npm run --silent stack -- up --detach)"      stays behind; `status` and `down` find it by its directory
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { chromiumProgram } from './chromium.ts'
import { StackError } from './errors.ts'
import { kafkaJars, startKafka } from './kafka.ts'
import { npmProgram, USERS_NODE, USERS_NPMS } from './npm.ts'
import { redisProgram, startRedis } from './redis.ts'
import { registryProgram, startRegistry } from './registry.ts'
import { toxiproxyProgram } from './toxiproxy.ts'
import { until } from './wait.ts'

const USAGE = `Usage: npm run --silent stack -- <command> [options]

  up [kafka] [redis] [registry]   start these, or all three
      --brokers 1|3               Kafka brokers (1)
      --detach                    leave them running and return
  status                          what runs, and how to reach it
  down                            end it; the data stay in the directory
  fetch                           get the programs of all of them, so that no start has to

  --dir DIR                       data and logs (millrace-stack)`

const KINDS = ['kafka', 'redis', 'registry'] as const
type Kind = (typeof KINDS)[number]

type Environment = Readonly<Record<string, string>>

/** What `status` and `down` need to know; it stands in the directory while the servers run. */
interface Running {
  readonly pid: number
  readonly env: Environment
}

interface UpOptions {
  readonly kinds: readonly Kind[]
  readonly brokers: 1 | 3
  readonly dir: string
}

interface Stack {
  readonly env: Environment
  stop(): Promise<void>
}

async function startStack({ kinds, brokers, dir }: UpOptions): Promise<Stack> {
  const start = {
    kafka: () => startKafka({ brokers, dir: join(dir, 'kafka') }),
    redis: () => startRedis({ dir: join(dir, 'redis'), settings: { appendonly: 'yes' } }),
    registry: () => startRegistry({ dir: join(dir, 'registry') }),
  }
  const outcomes = await Promise.allSettled(kinds.map((kind) => start[kind]()))
  const servers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()))
  }
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed !== undefined) {
    await stop()
    throw failed.reason
  }
  return { env: Object.assign({}, ...servers.map(({ env }) => env)) as Environment, stop }
}

/** Runs until it is told to end. */
async function up(options: UpOptions): Promise<void> {
  await refuseSecond(options.dir)
  const ended = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve)
  })
  const stack = await startStack(options)
  try {
    const running: Running = { pid: process.pid, env: stack.env }
    await writeFile(stateFile(options.dir), JSON.stringify(running))
    print(exportsOf(stack.env))
    const idle = setInterval(() => null, 60_000)
    await ended
    clearInterval(idle)
  } finally {
    await stack.stop()
    await rm(stateFile(options.dir), { force: true })
  }
}

/** Leaves a process behind that runs {@link up}. */
async function upDetached(options: UpOptions): Promise<void> {
  await refuseSecond(options.dir)
  const logFile = join(options.dir, 'stack.log')
  const log = openSync(logFile, 'w')
  const args = ['up', ...options.kinds, '--brokers', String(options.brokers), '--dir', options.dir]
  const child = spawn(process.execPath, [import.meta.filename, ...args], {
    stdio: ['ignore', log, log],
    detached: true,
  })
  closeSync(log)
  let hasEnded = false
  void once(child, 'exit').then(() => (hasEnded = true))
  const isUp = async (): Promise<boolean> => hasEnded || (await runningIn(options.dir)) !== null
  await until('the servers run', isUp, { timeoutMs: 30 * 60_000 })
  const running = await runningIn(options.dir)
  if (running === null) throw new StackError('START_FAILED', (await readFile(logFile, 'utf8')).trim())
  child.unref()
  print(exportsOf(running.env))
}

/** What cannot be had is said; with REQUIRE_STACK=1 it is an error, as for the tests that need it. */
async function fetchPrograms(): Promise<void> {
  const programs = {
    Kafka: kafkaJars,
    Redis: () => redisProgram('redis-server'),
    'the schema registry': registryProgram,
    Toxiproxy: toxiproxyProgram,
    Chromium: chromiumProgram,
    [`Node ${USERS_NODE}`]: () => npmProgram('node', USERS_NODE),
    ...Object.fromEntries(USERS_NPMS.map((version) => [`npm ${version}`, () => npmProgram('npm', version)])),
  }
  const missing: string[] = []
  for (const [name, get] of Object.entries(programs)) {
    try {
      await get()
    } catch (error) {
      if (!(error instanceof StackError)) throw error
      missing.push(`${name}: ${error.message}`)
    }
  }
  if (missing.length === 0) return
  if (process.env['REQUIRE_STACK'] === '1') throw new StackError('MISSING_PROGRAM', missing.join('\n'))
  print(`Not at hand, so the tests on it will be skipped:\n${missing.join('\n')}`)
}

async function status(dir: string): Promise<void> {
  const running = await runningIn(dir)
  if (running === null) {
    print(`Nothing runs in ${dir}.`)
    process.exitCode = 1
    return
  }
  print(`# process ${running.pid}, data and logs in ${dir}\n${exportsOf(running.env)}`)
}

async function down(dir: string): Promise<void> {
  const running = await runningIn(dir)
  if (running === null) {
    print(`Nothing runs in ${dir}.`)
    return
  }
  process.kill(running.pid, 'SIGTERM')
  await until(`process ${running.pid} ended`, async () => (await runningIn(dir)) === null)
}

async function refuseSecond(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true })
  const running = await runningIn(dir)
  if (running === null) return
  const message = `Servers run in ${dir} already (process ${running.pid}): \`down\` ends them, --dir names another.`
  throw new StackError('BAD_REQUEST', message)
}

/** null where nothing runs, also where its process died without a word. */
async function runningIn(dir: string): Promise<Running | null> {
  const text = await readFile(stateFile(dir), 'utf8').catch(() => null)
  if (text === null || text === '') return null
  const running = JSON.parse(text) as Running
  try {
    process.kill(running.pid, 0)
    return running
  } catch {
    return null
  }
}

function stateFile(dir: string): string {
  return join(dir, 'stack.json')
}

function exportsOf(env: Environment): string {
  return Object.entries(env)
    .map(([name, value]) => `export ${name}='${value}'`)
    .join('\n')
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function isKind(text: string): text is Kind {
  return (KINDS as readonly string[]).includes(text)
}

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      dir: { type: 'string', default: 'millrace-stack' },
      brokers: { type: 'string', default: '1' },
      detach: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command, ...names] = positionals
  const dir = resolve(values.dir)
  if (values.help || command === undefined) {
    print(USAGE)
    return
  }
  if (command === 'status') return status(dir)
  if (command === 'down') return down(dir)
  if (command === 'fetch') return fetchPrograms()
  if (command !== 'up') throw new StackError('BAD_REQUEST', `Unknown command ${command}.\n${USAGE}`)
  const unknown = names.find((name) => !isKind(name))
  if (unknown !== undefined) throw new StackError('BAD_REQUEST', `Unknown server ${unknown}.\n${USAGE}`)
  const brokers = Number(values.brokers)
  if (brokers !== 1 && brokers !== 3) throw new StackError('BAD_REQUEST', '--brokers is 1 or 3.')
  const kinds = names.length === 0 ? KINDS : names.filter(isKind)
  await (values.detach ? upDetached : up)({ kinds, brokers, dir })
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
})
