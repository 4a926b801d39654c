import { join } from 'node:path'
import { findProgram } from './command.ts'
import { debianPrograms } from './debian.ts'
import { StackError } from './errors.ts'

const HELP = '`apt-get install chromium`, or have one on the PATH.'

export interface Chromium {
  readonly path: string
  /** What it needs to find its libraries, beside what is there. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * A Chromium: the PATH's, else Debian's, unpacked with all that the system lacks for it.
 * @throws StackError where there is neither
 */
export async function chromiumProgram(): Promise<Chromium> {
  try {
    return { path: findProgram('chromium', HELP), env: {} }
  } catch (error) {
    if (!(error instanceof StackError)) throw error
  }
  const { root, env } = await debianPrograms('chromium', ['chromium'], HELP, { withDependencies: true })
  // Past the script in usr/bin, which looks for the rest in /usr.
  return { path: join(root, 'usr/lib/chromium/chromium'), env }
}
