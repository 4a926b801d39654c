import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findProgram, run } from './command.ts'
import { guardProject, releaseProject } from './guard.ts'
import { freePorts } from './ports.ts'

const FILE = join(import.meta.dirname, '..', '..', 'docker-compose.yml')
const PROBE_MS = 5_000
const START_MS = 5 * 60_000

export type Service = 'kafka' | 'redis' | 'registry'

const PORTS = {
  kafka: {
    variable: 'MILLRACE_KAFKA_PORT',
    address: (port: number) => ({ KAFKA_BROKERS: `localhost:${port}` }),
  },
  redis: {
    variable: 'MILLRACE_REDIS_PORT',
    address: (port: number) => ({ REDIS_URL: `redis://localhost:${port}` }),
  },
  registry: {
    variable: 'MILLRACE_REGISTRY_PORT',
    address: (port: number) => ({ SCHEMA_REGISTRY_URL: `http://localhost:${port}/apis/ccompat/v7` }),
  },
} as const

export interface Containers {
  readonly env: Readonly<Record<string, string>>
  /** Removes them with their volumes. */
  stop(): Promise<void>
}

/**
 * Whether a Docker engine with compose answers and has the image of this service of docker-compose.yml. Nothing
 * is pulled: a test run must not wait for a download that nobody asked for.
 */
export async function hasImage(service: Service): Promise<boolean> {
  const text = await readFile(FILE, 'utf8')
  const image = new RegExp(`^  ${service}:\\n    image: (.+)$`, 'm').exec(text)?.[1] ?? ''
  try {
    const docker = findProgram('docker', 'see docs.docker.com/get-docker.')
    await run(docker, ['image', 'inspect', image], { timeoutMs: PROBE_MS })
    await run(docker, ['compose', 'version'], { timeoutMs: PROBE_MS })
    return true
  } catch {
    return false
  }
}

/**
 * Starts one service of docker-compose.yml, and what it depends on, as a project of its own on free ports. They
 * are removed with this process, however that ends. Compose itself instead of a library: the file is the one
 * that users have, so the settings cannot drift.
 * @throws StackError where a container does not become healthy
 */
export async function startContainer(service: Service): Promise<Containers> {
  const docker = findProgram('docker', 'see docs.docker.com/get-docker.')
  const services = Object.keys(PORTS) as Service[]
  const ports = await freePorts(services.length)
  const env = Object.fromEntries(services.map((name, i) => [PORTS[name].variable, String(ports[i]!)]))
  const project = `millrace-test-${service}-${process.pid}`
  const compose = ['compose', '--file', FILE, '--project-name', project]
  const down = async (): Promise<void> => {
    await run(docker, [...compose, 'down', '--volumes', '--timeout', '1'], { env })
    releaseProject(project)
  }
  guardProject(project)
  try {
    await run(docker, [...compose, 'up', '--detach', '--wait', '--pull', 'never', service], {
      env,
      timeoutMs: START_MS,
    })
  } catch (error) {
    await down()
    throw error
  }
  return { env: PORTS[service].address(ports[services.indexOf(service)]!), stop: down }
}
