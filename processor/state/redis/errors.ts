import { StateError, type StateOwner, type Checkpoint } from '../port.ts'

/** What a server's error means for us and how it is mended, by the first word of its reply. */
const REPLIES: Readonly<Record<string, string>> = {
  OOM:
    'is out of memory and takes no writes. Raise its memory (CONFIG SET maxmemory …, or a larger server); ' +
    'it needs no eviction, which would lose state',
  MISCONF:
    'cannot save to its disk and takes no writes. Free or mend the disk, or let it go on without ' +
    '(CONFIG SET stop-writes-on-bgsave-error no): state is rebuilt from the changelogs in any case',
  READONLY:
    'is a replica and takes no writes. REDIS_URL has to name the master, the sentinels ' +
    '(redis+sentinel://…) or the cluster; after a failover this passes by itself',
  LOADING: 'is loading its data and answers when it is done',
  MASTERDOWN: 'is a replica that has lost its master. It answers after the failover',
  CLUSTERDOWN:
    'is a cluster in which some slots have no server. `redis-cli --cluster check` says which; bring the node back',
  TRYAGAIN: 'is moving the keys of this slot to another node. It answers when that is done',
  NOREPLICAS: 'has fewer replicas than min-replicas-to-write wants, and takes no writes. Bring them back',
  BUSY: 'is busy with a script of somebody else. SCRIPT KILL ends it',
  WRONGTYPE:
    'holds something else under a key of ours. Give this pipeline a key prefix of its own, or remove that key',
  NOAUTH: 'wants a password. Put user and password into REDIS_URL (redis://user:password@host:port)',
  WRONGPASS: 'refuses the user or the password in REDIS_URL',
  NOPERM:
    'refuses this user a command or a key. Its rules have to allow the keys (~<prefix>*) and ' +
    '+@hash +@set +@scripting +@connection +unlink +info, on a cluster +cluster too',
}

const CONNECTION = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EAI_AGAIN',
])

/** What ioredis says of calls whose connection broke; a cluster's nodes never say more. */
const CLOSED = /^(Connection is closed|Reached the max retries)/

/**
 * The one place where errors of Redis and of its client become ours.
 * @param cause the connection's last error, which says more than "connection is closed"
 */
export function unavailable(address: string, error: unknown, cause: Error | null): StateError {
  for (const each of [error, cause]) forgetArguments(each)
  const said = messageOf(error)
  const reply = replyOf(error) ?? (cause === null ? null : replyOf(cause))
  if (reply !== null) return stateError(`Redis (${address}) ${REPLIES[reply]!}. It says: ${said}`, error)
  if (said === 'Command timed out' && cause === null) {
    return stateError(
      `Redis (${address}) does not answer in time: it is loading its data, is overloaded, or cannot be reached.`,
      error,
    )
  }
  const reason = cause ?? error
  const code = (reason as NodeJS.ErrnoException).code
  const isClosed = CLOSED.test(messageOf(reason))
  if (isClosed || (code !== undefined && CONNECTION.has(code))) {
    const why = isClosed ? 'the connection broke' : messageOf(reason)
    return stateError(`Redis (${address}) cannot be reached: ${why}. Start it, or mend REDIS_URL.`, error)
  }
  return stateError(`Redis (${address}) does not work: ${messageOf(reason).replace(/\.$/, '')}.`, error)
}

/** ioredis puts a command's arguments on its error: AUTH's are the password, and errors are logged. */
function forgetArguments(error: unknown): void {
  delete (error as { command?: unknown } | null)?.command
}

/** The name of a reply that we know, also where a script or the cluster client has put words before it. */
export function replyOf(error: unknown): string | null {
  const said = messageOf(error)
  const first = /^[A-Z]+/.exec(said)?.[0] ?? ''
  if (first in REPLIES) return first
  for (const name of Object.keys(REPLIES)) if (new RegExp(`\\b${name} `).test(said)) return name
  // Its client gave up between the slot's old node and its new one, whichever of them answered last.
  if (said.startsWith('Too many Cluster redirections')) return 'TRYAGAIN'
  // Redis 7 and older say it in words where a script runs the command.
  return /can't run this command|has no permissions/i.test(said) ? 'NOPERM' : null
}

export function isNoScript(error: unknown): boolean {
  return messageOf(error).startsWith('NOSCRIPT')
}

/** The meta's first six fields, as scripts answer them instead of what they were told to find; a seventh: ours.lua. */
export type MetaReply = readonly (Buffer | null)[]

/** Says why the state is not ours any more; opening the task again mends all of it. */
export function lost(
  task: string,
  owner: StateOwner,
  incarnation: string | null,
  seen: Checkpoint,
  found: MetaReply,
): StateError {
  const [cluster, topic, token, foundIncarnation, changelog, windows, gone] = found.map(
    (field) => field?.toString() ?? null,
  ) as (string | null | undefined)[]
  const why = (): string => {
    if (typeof gone === 'string') {
      return 'a part of it is gone from Redis (evicted, or deleted by somebody): Redis has to keep all keys (noeviction)'
    }
    if (cluster === null) return 'it is gone from Redis (flushed, or a failover to an empty copy)'
    if (cluster !== owner.clusterId || topic !== owner.topicId) {
      return (
        `it belongs to another log now (cluster ${cluster}, topics ${topic ?? 'none'}): where two ` +
        'clusters share one Redis, give each its own key prefix'
      )
    }
    if (Number(token) > owner.token)
      return `another process opened the task (token ${token ?? ''}, ours ${owner.token})`
    if (Number(token) < owner.token || foundIncarnation !== incarnation) {
      return `Redis went back to an older copy (token ${token ?? 'none'}, ours ${owner.token})`
    }
    return (
      `its checkpoint in Redis is ${changelog ?? ''}/${windows ?? ''}, and ours ` +
      `${seen.changelog}/${seen.windows}: Redis went back to an older copy, or lost a part of a write`
    )
  }
  return new StateError(
    'STATE_LOST',
    `${task}: its state is not what was written: ${why()}. It is opened again.`,
  )
}

function stateError(message: string, cause: unknown): StateError {
  return new StateError('STATE_UNAVAILABLE', message, { cause })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
