import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where the servers' programs are kept, one directory a name and version. */
export function stackCache(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const caches = env['XDG_CACHE_HOME']
  const root = caches === undefined || caches === '' ? join(homedir(), '.cache') : caches
  return join(root, 'millrace', 'stack')
}

/**
 * A directory of the cache, built where it is missing: under another name first and then renamed, so that
 * nobody sees half of it and two processes may build it at once.
 * @param name with the version
 * @param build fills the directory; when it throws, nothing is kept
 */
export async function cached(
  name: string,
  build: (directory: string) => Promise<void>,
  root: string = stackCache(),
): Promise<string> {
  const directory = join(root, name)
  if (await exists(directory)) return directory
  await mkdir(root, { recursive: true })
  const draft = await mkdtemp(join(root, `.${name}-`))
  try {
    await build(draft)
    await rename(draft, directory)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!(await exists(directory))) throw error
  }
  return directory
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
