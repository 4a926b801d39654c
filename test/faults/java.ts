import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { findJava } from '../../deploy/stack/command.ts'
import { guardGroup } from '../../deploy/stack/guard.ts'
import { kafkaJars } from '../../deploy/stack/kafka.ts'

/** Runs a program of this folder with Kafka's own client. */
export async function startJava(
  program: string,
  args: readonly string[],
  heapMb: number,
): Promise<ChildProcessByStdio<null, Readable, Readable>> {
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=off'
  const flags = [`-Xmx${heapMb}m`, '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', quiet]
  const classPath = join(await kafkaJars(), '*')
  const child = spawn(
    await findJava(17),
    [...flags, '-cp', classPath, join(import.meta.dirname, program), ...args],
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  )
  guardGroup(child.pid!)
  return child
}
