import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { findProgram, run } from './command.ts'

const LIBRARIES = 'usr/lib/x86_64-linux-gnu'

export interface UnpackedPrograms {
  /** What stands in the place of /. */
  readonly root: string
  /** Where their executables stand. */
  readonly directory: string
  /** What they need to find their libraries. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * The programs of Debian packages, unpacked into the cache: nothing is installed, and no rights are needed.
 * @param packages with the libraries that a plain system lacks, unless `withDependencies` asks for all that this
 *   system lacks
 * @throws StackError where this is no Debian, or its packages cannot be had
 */
export async function debianPrograms(
  name: string,
  packages: readonly string[],
  help: string,
  { withDependencies = false }: { readonly withDependencies?: boolean } = {},
): Promise<UnpackedPrograms> {
  const root = await cached(`debian-${name}`, async (target) => {
    const [apt, dpkg] = [findProgram('apt-get', help), findProgram('dpkg', help)]
    const work = join(target, 'work')
    for (const part of ['lists/partial', 'cache/archives/partial', 'packages']) {
      await mkdir(join(work, part), { recursive: true })
    }
    const own = ['-o', `Dir::State::lists=${work}/lists`, '-o', `Dir::Cache=${work}/cache`]
    const unlocked = ['-q', '-o', 'Debug::NoLocking=1', ...own]
    await run(apt, [...unlocked, 'update'])
    const archives = join(work, withDependencies ? 'cache/archives' : 'packages')
    const get = withDependencies
      ? ['install', '-y', '--no-install-recommends', '--download-only']
      : ['download']
    await run(apt, [...unlocked, ...get, ...packages], { cwd: join(work, 'packages') })
    for (const file of await readdir(archives)) {
      if (file.endsWith('.deb')) await run(dpkg, ['-x', join(archives, file), target])
    }
    await rm(work, { recursive: true })
  })
  return { root, directory: join(root, 'usr/bin'), env: { LD_LIBRARY_PATH: join(root, LIBRARIES) } }
}
