import { StateError } from '../port.ts'
import { RedisConnection, type ConnectionSettings } from './connection.ts'
import { probeKeys } from './key-names.ts'
import { probeScript } from './scripts.ts'
import { newStats } from './stats.ts'

/** What the scripts are tried against; UNLINK, HSET of many fields and ACL users are all older. */
const LEAST_VERSION = [6, 2] as const
const HIGH_MEMORY = 0.9

export interface RedisFinding {
  readonly ok: boolean
  /** What was found, with the server's address. */
  readonly what: string
  /** How to mend it; null where nothing is to do. */
  readonly mend: string | null
  /** Whether `RedisState.open` refuses to work like this. */
  readonly refused: boolean
}

export interface InspectOptions {
  readonly application: string
  readonly keyPrefix?: string
}

/** Looks at a Redis as `doctor` does; a server that does not answer is a finding too. */
export async function checkRedis(options: ConnectionSettings & InspectOptions): Promise<RedisFinding[]> {
  let connection: RedisConnection | null = null
  try {
    connection = new RedisConnection(options, newStats())
    return await inspect(connection, options)
  } catch (error) {
    if (!(error instanceof StateError)) throw error
    return [{ ok: false, what: error.message, mend: null, refused: true }]
  } finally {
    connection?.close()
  }
}

/** @throws StateError STATE_UNAVAILABLE where it does not answer, or refuses what the scripts need */
export async function inspect(
  connection: RedisConnection,
  { application, keyPrefix = '' }: InspectOptions,
): Promise<RedisFinding[]> {
  const findings: RedisFinding[] = []
  for (const { node, info } of await connection.info()) {
    const server = `Redis ${info.get('redis_version') ?? '(unknown version)'} at ${node}`
    if (info.get('loading') === '1')
      findings.push(refusal(`${server} is loading its data.`, 'Wait until it is done.'))
    findings.push(
      versionOf(server, info),
      policyOf(server, info),
      roleOf(server, info),
      memoryOf(server, info),
    )
  }
  // What a look at the settings has found says more than the write that fails of it.
  if (findings.some(({ refused }) => refused)) return findings
  const call = connection.call().begin(probeScript, probeKeys(keyPrefix, application))
  await connection.run(call)
  findings.push(fine(`Redis (${connection.address}) runs the scripts that state needs, for this user.`))
  return findings
}

type Info = ReadonlyMap<string, string>

function versionOf(server: string, info: Info): RedisFinding {
  const [major = 0, minor = 0] = (info.get('redis_version') ?? '').split('.').map(Number)
  const isOld = major < LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor < LEAST_VERSION[1])
  if (!isOld) return fine(`${server} is new enough.`)
  return refusal(`${server} is older than ${LEAST_VERSION.join('.')}.`, 'Upgrade it.')
}

function policyOf(server: string, info: Info): RedisFinding {
  const policy = info.get('maxmemory_policy') ?? 'unknown'
  // Entries have no time to live, so that `volatile-…` never takes one of them.
  if (policy === 'noeviction' || policy.startsWith('volatile-'))
    return fine(`${server} evicts no state (${policy}).`)
  return refusal(
    `${server} evicts keys when its memory is full (maxmemory-policy ${policy}): state would be lost without a word.`,
    'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf or in the parameters of the managed service.',
  )
}

function roleOf(server: string, info: Info): RedisFinding {
  if (info.get('role') === 'master') return fine(`${server} is a master.`)
  return refusal(
    `${server} is a replica and takes no writes.`,
    'Let REDIS_URL name the master, the sentinels (redis+sentinel://…) or the cluster (redis+cluster://…).',
  )
}

function memoryOf(server: string, info: Info): RedisFinding {
  const limit = Number(info.get('maxmemory') ?? 0)
  const used = Number(info.get('used_memory') ?? 0)
  if (limit === 0) return fine(`${server} has no memory limit and uses ${mebibytes(used)}.`)
  const what = `${server} uses ${mebibytes(used)} of ${mebibytes(limit)}.`
  if (used < limit * HIGH_MEMORY) return fine(what)
  return {
    ok: false,
    what,
    mend: 'Give it more memory (CONFIG SET maxmemory …) before writes are refused.',
    refused: false,
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

function fine(what: string): RedisFinding {
  return { ok: true, what, mend: null, refused: false }
}

function refusal(what: string, mend: string): RedisFinding {
  return { ok: false, what, mend, refused: true }
}
