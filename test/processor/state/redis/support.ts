import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { systemClock } from '../../../../config/clock.ts'
import { BatchBuilder } from '../../../../log/batch.ts'
import { segmentKey } from '../../../../processor/state/keys.ts'
import type { StateOwner, StateWrite, TaskState } from '../../../../processor/state/port.ts'
import { RedisState, type RedisStateOptions } from '../../../../processor/state/redis/redis-state.ts'
import { redisProgram } from '../../../../deploy/stack/redis.ts'

export const STORE = 3
export const OWNER: StateOwner = { clusterId: 'cluster', topicId: 'changelog+windows', token: 10 }
export const lost = { name: 'StateError', code: 'STATE_LOST' }

/** A state under an application name of its own. */
export function openState(url: string, options: Partial<RedisStateOptions> = {}): Promise<RedisState> {
  const application = `test-${randomBytes(4).toString('hex')}`
  return RedisState.open({ url, application, clock: systemClock, timeoutMs: 10_000, ...options })
}

export async function freshTask(state: RedisState, owner = OWNER, task = 't_0'): Promise<TaskState> {
  const taken = await state.takeOver(task, owner)
  await taken.newIncarnation(1)
  return taken
}

export function rows(entries: Readonly<Record<string, string | null>>, segmentMs = 0): BatchBuilder {
  const builder = new BatchBuilder('windows', 0)
  for (const [key, value] of Object.entries(entries)) {
    builder.append(segmentKey(STORE, segmentMs, key), value === null ? null : Buffer.from(value))
  }
  return builder
}

export function many(count: number, value: string): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, value]))
}

/** The write that takes `-windows` from `from` one offset further. */
export function writeAt(from: number, fields: Partial<StateWrite> = {}): StateWrite {
  return {
    records: [],
    dropPrefixes: [],
    taskRecord: null,
    base: { changelog: 0, windows: from },
    end: { changelog: 0, windows: from + 1 },
    timeMs: 5,
    ...fields,
  }
}

export async function read(task: TaskState, ...keys: string[]): Promise<(string | null)[]> {
  const values = await task.readMany(keys.map((key) => segmentKey(STORE, 0, key)))
  return values.map((value) => value?.toString() ?? null)
}

/** null where it cannot be had: then no server can, and the tests are skipped. */
const redisCli = await redisProgram('redis-cli').catch(() => null)

/** Redis as somebody else uses it; blocking, so that it can act in the middle of a write. */
export function cli(url: string, ...args: string[]): string {
  const { port } = new URL(url)
  const { program, env } = redisCli!
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const
  return execFileSync(program, ['-p', port, ...args], options).trim()
}

const COPY = `
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('UNLINK', key) end
for _, key in ipairs(redis.call('KEYS', ARGV[2] .. '*')) do
  redis.call('COPY', key, ARGV[1] .. string.sub(key, #ARGV[2] + 1))
end`

/** Keeps a copy of all keys aside, as a replica that lags behind would. */
export function keepCopy(url: string, application: string): void {
  cli(url, 'EVAL', COPY, '0', `aside:${application}`, `{${application}`)
}

/** What a failover to that replica would leave. */
export function goBackToCopy(url: string, application: string): void {
  cli(url, 'EVAL', COPY, '0', `{${application}`, `aside:${application}`)
}
