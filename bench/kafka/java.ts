import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cached } from '../../deploy/stack/cache.ts'
import { findJava, findProgram, run } from '../../deploy/stack/command.ts'

const SOURCES = join(import.meta.dirname, 'streams')
const VERSION = '4.3.1'

export interface JavaPrograms {
  readonly java: string
  /** Arguments before the name of a class. */
  readonly classPath: readonly string[]
}

/** Kafka Streams' jars, got by Maven when they are first needed, and the bench's own classes, compiled now. */
export async function compileJava(directory: string): Promise<JavaPrograms> {
  const java = await findJava(17)
  const jars = await cached(`kafka-streams-${VERSION}`, async (target) => {
    const maven = findProgram('mvn', 'Kafka Streams is got by Maven (`apt-get install maven`).')
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1'
    const args = ['-q', '-B', '-f', join(SOURCES, 'pom.xml'), `-DoutputDirectory=${target}`]
    await run(maven, [...args, `${plugin}:copy-dependencies`])
  })
  const classes = join(directory, 'classes')
  mkdirSync(classes, { recursive: true })
  const files = (await readdir(SOURCES)).filter((name) => name.endsWith('.java'))
  const compiler = findProgram(
    'javac',
    'The bench compiles its peer (`apt-get install openjdk-17-jdk-headless`).',
  )
  const sources = files.map((name) => join(SOURCES, name))
  await run(compiler, ['-nowarn', '-cp', join(jars, '*'), '-d', classes, ...sources])
  return { java, classPath: ['-cp', [classes, join(jars, '*')].join(delimiter)] }
}
