/**
 * Real servers for tests: at most one of each kind for a whole mocha run, started by whoever needs it first and
 * ended with the process that started it. A test that breaks its server starts one of its own (`ownServer`).
 */
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasImage, startContainer, type Service } from '../../deploy/stack/containers.ts'
import { guardDirectory } from '../../deploy/stack/guard.ts'
import { StackError, startKafka, startRedis, startRegistry } from '../../deploy/stack/servers.ts'

const POLL_MS = 100
/** A registry starts in 15 s, and in much more on a machine that is busy. */
const START_MS = 5 * 60_000

export interface SharedKafka {
  /** As KAFKA_BROKERS has them. */
  readonly brokers: string
}

export interface SharedRedis {
  readonly url: string
}

export interface SharedRegistry {
  readonly url: string
}

/**
 * One broker with replication factor 1; MILLRACE_TEST_KAFKA_BROKERS names another. Topics, groups and
 * transactional ids need names of their own: others use it at the same time.
 */
export async function sharedKafka(test: Mocha.Context): Promise<SharedKafka> {
  return { brokers: await shared(test, 'kafka', 'KAFKA_BROKERS', () => startKafka()) }
}

/** One server with `noeviction`; MILLRACE_TEST_REDIS_URL names another. Never to be flushed. */
export async function sharedRedis(test: Mocha.Context): Promise<SharedRedis> {
  return { url: await shared(test, 'redis', 'REDIS_URL', () => startRedis()) }
}

/** Confluent's API with BACKWARD as default; MILLRACE_TEST_SCHEMA_REGISTRY_URL names another. */
export async function sharedRegistry(test: Mocha.Context): Promise<SharedRegistry> {
  return { url: await shared(test, 'registry', 'SCHEMA_REGISTRY_URL', () => startRegistry()) }
}

/** The environment's own server, else a container where its image is at hand, else one without a container. */
async function shared(
  test: Mocha.Context,
  service: Service,
  variable: string,
  startNative: () => Promise<{ readonly env: object }>,
): Promise<string> {
  const given = process.env[`MILLRACE_TEST_${variable}`]
  if (given !== undefined && given !== '') return given
  return ownServer(test, () =>
    once(service, async () => {
      const { env } = (await hasImage(service)) ? await startContainer(service) : await startNative()
      return (env as Readonly<Record<string, string>>)[variable]!
    }),
  )
}

/**
 * What `start` gives. Where the server cannot be had the test is skipped, and the reason stands at the end of
 * the run; with REQUIRE_STACK=1 it fails.
 *
 *     before(async function () { kafka = await ownServer(this, () => startKafka({ brokers: 3 })) })
 */
export async function ownServer<T>(test: Mocha.Context, start: () => Promise<T>): Promise<T> {
  test.timeout(Math.max(test.timeout(), START_MS))
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof StackError) || process.env['REQUIRE_STACK'] === '1') throw error
    appendFileSync(join(openRunDirectory(), 'skipped'), `${error.message.split('\n')[0]!}\n`)
    return test.skip()
  }
}

/** Why tests were skipped, each reason once; for the end of the run. */
export function reasonsOfSkipped(): string[] {
  const text = readOrNull(join(runDirectory(), 'skipped')) ?? ''
  return [...new Set(text.split('\n').filter((line) => line !== ''))]
}

export function removeRunDirectory(): void {
  rmSync(runDirectory(), { recursive: true, force: true })
}

interface Started {
  /** Of the process that it ends with. */
  readonly pid: number
  readonly address: string | null
  /** Why it could not be started: nobody tries again in this run. */
  readonly failure: string | null
}

/** The address that the first caller of the whole run got from `start`. */
async function once(name: string, start: () => Promise<string>): Promise<string> {
  const record = join(openRunDirectory(), `${name}.json`)
  const lock = join(openRunDirectory(), `${name}.lock`)
  while (!takeLock(lock)) await sleep(POLL_MS)
  try {
    const started = JSON.parse(readOrNull(record) ?? 'null') as Started | null
    if (started === null || !isAlive(started.pid)) {
      const outcome = await start().then(
        (address) => ({ address, failure: null }),
        (error: unknown) => ({ address: null, failure: (error as Error).message }),
      )
      writeFileSync(record, JSON.stringify({ pid: process.pid, ...outcome } satisfies Started))
      if (outcome.address !== null) return outcome.address
      throw new StackError('START_FAILED', outcome.failure)
    }
    if (started.address !== null) return started.address
    throw new StackError('START_FAILED', started.failure ?? 'It failed to start before.')
  } finally {
    rmSync(lock)
  }
}

/** Whether this process has it now; one whose owner died is freed. */
function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    const owner = readOrNull(lock)
    if (owner !== null && owner !== '' && !isAlive(Number(owner))) rmSync(lock, { force: true })
    return false
  }
}

function openRunDirectory(): string {
  const directory = runDirectory()
  mkdirSync(directory, { recursive: true })
  // A worker leaves it to the process that prints the summary.
  if (process.env['MOCHA_WORKER_ID'] === undefined) guardDirectory(directory)
  return directory
}

/** One for all workers of a mocha run: they are children of the process that divides the files among them. */
function runDirectory(): string {
  const run = process.env['MOCHA_WORKER_ID'] === undefined ? process.pid : process.ppid
  return join(tmpdir(), `millrace-test-run-${run}`)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}
