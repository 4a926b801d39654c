import type { RegistrySettings } from '../settings/settings.ts'
import { failure, ok, skipped, warning, type Check, type Finding } from './findings.ts'

const NAME = 'schema registry'
/** Under which a new schema can be read by who knows the old one, or the other way round. */
const SAFE = ['BACKWARD', 'BACKWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE']

/** Whether the registry answers, lets us in, and compares schemas when they are registered. */
export function registryCheck(registry: RegistrySettings | null, timeoutMs: number): Check {
  return {
    name: NAME,
    run: async () => {
      if (registry === null) {
        return [skipped(NAME, 'SCHEMA_REGISTRY_URL is not set: schemas are kept in a topic of Kafka')]
      }
      return [await check(registry, timeoutMs)]
    },
  }
}

async function check({ url, auth }: RegistrySettings, timeoutMs: number): Promise<Finding> {
  const headers =
    auth === null
      ? {}
      : { authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}` }
  const get = (path: string): Promise<Response> =>
    fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(timeoutMs) })
  let subjects: Response
  try {
    subjects = await get('/subjects')
  } catch (error) {
    const { cause, name, message } = error as Error
    const why =
      name === 'TimeoutError' ? `no answer within ${timeoutMs / 1000} s` : (causeOf(cause) ?? message)
    return failure(NAME, `${url} cannot be reached (${why})`, 'Start it, or mend SCHEMA_REGISTRY_URL.')
  }
  if (subjects.status === 401 || subjects.status === 403) {
    const mend = 'Mend SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or what they may do.'
    return failure(NAME, `${url} does not let us in (HTTP ${subjects.status})`, mend)
  }
  const names = await listOf(subjects)
  if (names === null) {
    const mend = "Mend SCHEMA_REGISTRY_URL: Apicurio's Confluent API, say, is under /apis/ccompat/v7."
    return failure(
      NAME,
      `${url} does not speak Confluent's API (HTTP ${subjects.status} for /subjects)`,
      mend,
    )
  }
  return await compatibility(url, names.length, get)
}

async function compatibility(
  url: string,
  subjects: number,
  get: (path: string) => Promise<Response>,
): Promise<Finding> {
  const response = await get('/config')
  const config = (await response.json().catch(() => null)) as { compatibilityLevel?: string } | null
  const level = config?.compatibilityLevel ?? `unknown (HTTP ${response.status})`
  if (SAFE.includes(level)) return ok(NAME, `${url}: ${subjects} subjects, compatibility ${level}`)
  return warning(
    NAME,
    `${url}: compatibility is ${level}, so that a schema which readers do not understand may be registered`,
    `curl -X PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}' ${url}/config`,
  )
}

async function listOf(response: Response): Promise<readonly unknown[] | null> {
  const body: unknown = await response.json().catch(() => null)
  return response.ok && Array.isArray(body) ? body : null
}

function causeOf(cause: unknown): string | null {
  if (!(cause instanceof Error)) return null
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
