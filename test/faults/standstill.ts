/** What can be seen from outside when nothing is committed any more, for whoever looks for the cause. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { dump } from './dump.ts'
import type { Role } from './role.ts'
import type { Stack } from './stack.ts'

const ANSWER_MS = 3_000
/** ApiVersions, version 0, without a client id: length, key, version, correlation id, length of the id. */
const API_VERSIONS = Buffer.from('0000000a00120000000000010000', 'hex')

/** @param topics those that are written to, past the proxies */
export async function standstill(
  stack: Stack,
  topics: readonly string[],
  roles: readonly Role[],
): Promise<string> {
  const ways = stack.kafkaProxies.map(async ({ name, port }) => `proxy ${name}: ${await answer(port)}`)
  const brokers = stack.kafka.map(async ({ id, port }) => `broker ${id}: ${await answer(port)}`)
  const log = dump(stack.brokers, topics).then(
    ({ records, open }) =>
      `the topics hold ${records.length} records; transactions are open in: ${open.join(', ') || 'none'}`,
    (error: unknown) => `the topics cannot be read: ${(error as Error).message}`,
  )
  const seen = await Promise.all([...brokers, ...ways, log])
  const said = roles.map((role) => `${role.name} (${state(role)}) said last:\n${role.said()}`)
  return [...seen, ...said].join('\n')
}

function state({ isRunning, isPaused }: Role): string {
  if (!isRunning) return 'not running'
  return isPaused ? 'stopped' : 'running'
}

async function answer(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    const signal = AbortSignal.timeout(ANSWER_MS)
    await once(socket, 'connect', { signal })
    socket.write(API_VERSIONS)
    await once(socket, 'data', { signal })
    return 'answers'
  } catch (error) {
    return `no answer (${(error as Error).message})`
  } finally {
    socket.destroy()
  }
}
