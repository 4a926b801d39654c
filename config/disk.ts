import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

const MIB = 2 ** 20

/** What the disk has to say to a write that failed, to stand in an error: `0 of 30 MiB are free in /data`. */
export function roomIn(path: string): string {
  const directory = nearestExisting(path)
  if (isReadOnly(directory)) return `${directory} is on a read-only file system`
  try {
    const { bavail, blocks, bsize } = statfsSync(directory)
    const [free, all] = [bavail, blocks].map((count) => Math.floor((count * bsize) / MIB))
    return `${free!.toLocaleString('en-US')} of ${all!.toLocaleString('en-US')} MiB are free in ${directory}`
  } catch {
    return `nothing can be found out about the disk of ${directory}`
  }
}

/** Whether what is there, or would be, cannot be written by anybody. */
export function isReadOnly(path: string): boolean {
  try {
    accessSync(nearestExisting(path), constants.W_OK)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS'
  }
}

function nearestExisting(path: string): string {
  let at = resolve(path)
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return at
}
