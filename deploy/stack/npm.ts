import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { findProgram, run } from './command.ts'

/**
 * What users have in place of the Node that the lockfile pins: a version of each line that the package promises,
 * and of each npm that is in use. They are no development dependencies: `node`, `npm` and `npx` in
 * `node_modules/.bin` would then be theirs for every script.
 */
export const USERS_NODE = '22.23.3'
export const USERS_NPMS = ['11.21.2', '12.2.0'] as const

/**
 * The directory of the executables of a Node or an npm, got by the npm on the PATH when it is first needed.
 * @throws StackError without npm, or where the download fails
 */
export async function npmProgram(name: 'node' | 'npm', version: string): Promise<string> {
  const root = await cached(`${name}-${version}`, async (directory) => {
    const npm = findProgram('npm', 'it comes with Node (nodejs.org).')
    // Node's package gets the one for this machine by its install script, which npm 12 runs only where it is allowed.
    const project = { private: true, allowScripts: { node: true }, dependencies: { [name]: version } }
    await writeFile(join(directory, 'package.json'), JSON.stringify(project))
    await run(npm, ['install', '--prefix', directory, '--no-audit', '--no-fund'])
  })
  return join(root, 'node_modules', '.bin')
}
