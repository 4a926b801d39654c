import { StateError } from '../port.ts'

export interface RedisHost {
  readonly host: string
  readonly port: number
}

/** Where Redis is, as one URL says it. */
export interface RedisAddress {
  readonly kind: 'server' | 'sentinel' | 'cluster'
  /** The server, the sentinels, or nodes of the cluster. */
  readonly hosts: readonly RedisHost[]
  /** The name under which sentinels know the master; '' otherwise. */
  readonly master: string
  readonly tls: boolean
  readonly username: string | null
  readonly password: string | null
  readonly database: number
  /** Without credentials, for messages. */
  readonly text: string
}

const FORMS =
  'redis://[user:password@]host:port[/database], redis+sentinel://[user:password@]host:port,…/master, ' +
  'redis+cluster://[user:password@]host:port,…; rediss for TLS'
const PORTS = { server: 6379, sentinel: 26_379, cluster: 6379 }

/**
 * Reads `redis://` (one server; a cluster where several hosts are given), `redis+sentinel://` and
 * `redis+cluster://`, with `rediss` for TLS. Credentials are those of the servers that hold data.
 * @throws StateError STATE_UNAVAILABLE for anything else, without repeating the password
 */
export function parseRedisUrl(url: string): RedisAddress {
  const match = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:(.*)@)?([^@/?#]+)(?:\/([^?#]*))?$/.exec(
    url.trim(),
  )
  if (match === null) throw unreadable('its form is none of these')
  const [, scheme, variant, credentials, hostList, path = ''] = match
  const listed = hostList!.split(',')
  const kind = variant === undefined ? (listed.length > 1 ? 'cluster' : 'server') : (variant as 'sentinel')
  const hosts = listed.map((text) => parseHost(text, PORTS[kind]))
  const [master = '', database = ''] = kind === 'sentinel' ? path.split('/') : ['', path]
  if (kind === 'sentinel' && master === '') throw unreadable("the master's name is missing behind the hosts")
  if (!/^\d*$/.test(database)) throw unreadable(`'${database}' is no database number`)
  if (kind === 'cluster' && Number(database) !== 0)
    throw unreadable('a cluster has no other databases than 0')
  const colon = credentials?.indexOf(':') ?? -1
  const username = credentials === undefined ? '' : colon < 0 ? credentials : credentials.slice(0, colon)
  return {
    kind,
    hosts,
    master: decode(master),
    tls: scheme === 'rediss',
    username: username === '' ? null : decode(username),
    password: colon < 0 ? null : decode(credentials!.slice(colon + 1)),
    database: Number(database),
    text: `${scheme!}${variant === undefined ? '' : `+${variant}`}://${hostList!}${path === '' ? '' : `/${path}`}`,
  }
}

function parseHost(text: string, defaultPort: number): RedisHost {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text)
  const port = Number(match?.[3] ?? defaultPort)
  if (match === null || port < 1 || port > 65_535) throw unreadable(`'${text}' is no host with a port`)
  return { host: match[1] ?? match[2]!, port }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw unreadable(
      'a % in the user, the password or the name is not followed by two digits (write it as %25)',
    )
  }
}

function unreadable(why: string): StateError {
  return new StateError(
    'STATE_UNAVAILABLE',
    `The address of Redis (REDIS_URL) cannot be read: ${why}. Forms: ${FORMS}.`,
  )
}
