import { createServer } from 'node:net'
import { StackError } from './errors.ts'

// Below the range that systems give outgoing connections, so that none of them takes a port between the moment
// it was chosen and the moment its server binds it, or while the server is down for a test.
const LOWEST = 20_000
const HIGHEST = 31_999
const TRIES = 200

const given = new Set<number>()

/**
 * Ports of 127.0.0.1 that nobody listens on, each given once a process.
 * @param random in [0, 1)
 * @throws StackError START_FAILED where none is found
 */
export async function freePorts(count: number, random: () => number = Math.random): Promise<number[]> {
  const ports: number[] = []
  for (let tries = 0; ports.length < count; tries++) {
    if (tries >= TRIES) throw new StackError('START_FAILED', `No free port in ${LOWEST}–${HIGHEST}.`)
    const port = LOWEST + Math.floor(random() * (HIGHEST - LOWEST + 1))
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    ports.push(port)
  }
  return ports
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
