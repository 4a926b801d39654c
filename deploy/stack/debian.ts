import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { findProgram, run } from './command.ts'

const LIBRARIES = 'usr/lib/x86_64-linux-gnu'

export interface UnpackedPrograms {
  /** Where their executables stand. */
  readonly directory: string
  /** What they need to find their libraries. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * The programs of Debian packages, unpacked into the cache: nothing is installed, and no rights are needed.
 * @param packages with the libraries that a plain system lacks
 * @throws StackError where this is no Debian, or its packages cannot be had
 */
export async function debianPrograms(
  name: string,
  packages: readonly string[],
  help: string,
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
    await run(apt, [...unlocked, 'download', ...packages], { cwd: join(work, 'packages') })
    for (const file of await readdir(join(work, 'packages'))) {
      await run(dpkg, ['-x', join(work, 'packages', file), target])
    }
    await rm(work, { recursive: true })
  })
  return { directory: join(root, 'usr/bin'), env: { LD_LIBRARY_PATH: join(root, LIBRARIES) } }
}
