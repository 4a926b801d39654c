import type { StateLook, StateSize } from '../look.ts'
import { RedisConnection, type ConnectionSettings } from './connection.ts'
import { TaskKeys } from './key-names.ts'
import { newStats } from './stats.ts'

const FIELDS = ['incarnation', 'token', 'changelog', 'record'] as const

/**
 * Reads what Redis has of an application's tasks, in the order asked; null where it has nothing.
 * @throws StateError STATE_UNAVAILABLE
 */
export async function lookAtState(
  options: ConnectionSettings & { readonly application: string; readonly keyPrefix?: string },
  tasks: readonly string[],
): Promise<(StateLook | null)[]> {
  const { application, keyPrefix = '' } = options
  const connection = new RedisConnection(options, newStats())
  try {
    return await Promise.all(
      tasks.map((task) => lookAt(connection, task, new TaskKeys(keyPrefix, application, task))),
    )
  } finally {
    connection.close()
  }
}

async function lookAt(connection: RedisConnection, task: string, keys: TaskKeys): Promise<StateLook | null> {
  const meta = (await connection.command('HMGET', keys.meta, ...FIELDS)) as (Buffer | null)[]
  const [incarnation = null, token = null, changelog = null, record = null] = meta
  if (token === null) return null
  const incarnations = (await connection.command('SCARD', keys.incarnations)) as number
  const copy = incarnation === null ? null : incarnation.toString()
  return {
    task,
    incarnation: copy,
    token: Number(token.toString()),
    changelogOffset: Number(changelog?.toString() ?? 0),
    taskRecord: record,
    size: { incarnations, ...(await sizeOf(connection, copy === null ? null : keys.copy(copy).segments)) },
  }
}

/** At most some dozens of segments are open at a time. */
async function sizeOf(
  connection: RedisConnection,
  segmentsKey: Buffer | null,
): Promise<Omit<StateSize, 'incarnations'>> {
  const segments =
    segmentsKey === null ? [] : ((await connection.command('SMEMBERS', segmentsKey)) as Buffer[])
  const sizes = await Promise.all(
    segments.map(async (segment) => ({
      entries: (await connection.command('HLEN', segment)) as number,
      // null: it was closed meanwhile.
      bytes: ((await connection.command('MEMORY', 'USAGE', segment)) as number | null) ?? 0,
    })),
  )
  return {
    segments: segments.length,
    entries: sizes.reduce((sum, { entries }) => sum + entries, 0),
    bytes: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}
