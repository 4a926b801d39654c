import { join } from 'node:path'
import { cached } from './cache.ts'
import { findJava, findProgram, run } from './command.ts'
import { freePorts } from './ports.ts'
import { ServerDirectory, ServerProcess } from './process.ts'

const VERSION = '3.3.3'
const JAVA = 21

/** What docker-compose.yml gives its registry too; a test holds the two together. */
export const REGISTRY_SETTINGS = {
  // Confluent's default; Apicurio's own is NONE.
  APICURIO_RULES_GLOBAL_COMPATIBILITY: 'BACKWARD',
} as const

export interface RegistryServer {
  readonly env: { readonly SCHEMA_REGISTRY_URL: string }
  readonly port: number
  readonly server: ServerProcess
  stop(): Promise<void>
}

/**
 * Starts Apicurio Registry, which speaks Confluent's API. Without `dir` its schemas stand in memory: they are
 * gone when it starts again.
 * @throws StackError without Java 21 and Maven, or where it does not start
 */
export async function startRegistry({
  port,
  dir,
}: { readonly port?: number; readonly dir?: string } = {}): Promise<RegistryServer> {
  const java = await findJava(JAVA)
  const program = await registryProgram()
  const directory = await ServerDirectory.open('registry', dir)
  const [free, management] = await freePorts(2)
  const own = port ?? free!
  const url = `http://127.0.0.1:${own}/apis/ccompat/v7`
  const server = new ServerProcess({
    name: 'registry',
    program: java,
    args: ['-Xmx384m', '-jar', join(program, 'quarkus-run.jar')],
    directory: directory.path,
    env: {
      QUARKUS_HTTP_HOST: '127.0.0.1',
      QUARKUS_HTTP_PORT: String(own),
      // Else always 9000: two could not run beside each other.
      QUARKUS_MANAGEMENT_HOST: '127.0.0.1',
      QUARKUS_MANAGEMENT_PORT: String(management!),
      ...(dir === undefined
        ? {}
        : { APICURIO_DATASOURCE_URL: `jdbc:h2:file:${join(directory.path, 'schemas')}` }),
      ...REGISTRY_SETTINGS,
    },
    isReady: () => answers(`${url}/subjects`),
    startMs: 180_000,
  })
  const stop = async (): Promise<void> => {
    await server.stop()
    await directory.remove()
  }
  try {
    await server.start()
  } catch (error) {
    await stop()
    throw error
  }
  return { env: { SCHEMA_REGISTRY_URL: url }, port: own, server, stop }
}

/** The directory of Apicurio Registry, got by Maven when it is first needed. @throws StackError */
export async function registryProgram(): Promise<string> {
  return cached(`apicurio-${VERSION}`, async (directory) => {
    const maven = findProgram('mvn', 'Apicurio Registry is got by Maven (`apt-get install maven`).')
    const artifact = `io.apicurio:apicurio-registry-app:${VERSION}:tar.gz:all`
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1'
    await run(maven, [
      '-q',
      '-B',
      `${plugin}:copy`,
      `-Dartifact=${artifact}`,
      `-DoutputDirectory=${directory}`,
    ])
    await run('tar', ['xzf', `apicurio-registry-app-${VERSION}-all.tar.gz`], { cwd: directory })
    await run('rm', [`apicurio-registry-app-${VERSION}-all.tar.gz`], { cwd: directory })
  })
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    (response) => response.ok,
    () => false,
  )
}
