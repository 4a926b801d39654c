/** What this machine has to have, whatever the pipeline runs on. */
import { constants } from 'node:fs'
import { access, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { isReadOnly } from '../../config/disk.ts'
import { failure, ok, warning, type Check, type Finding } from './findings.ts'

/** As cli/millrace.js has it; from it on Node runs TypeScript. */
const LEAST_NODE = [22, 18] as const

export function nodeCheck(version: string): Check {
  const name = 'node'
  return {
    name,
    run: () => {
      const [major = 0, minor = 0] = version.split('.').map(Number)
      const isEnough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
      if (isEnough) return [ok(name, `Node ${version}`)]
      return [
        failure(
          name,
          `Node ${version} is older than ${LEAST_NODE.join('.')}`,
          "Install Node 24, or run it as 'npx millrace' in the repository after 'npm ci'.",
        ),
      ]
    },
  }
}

const ENOUGH_BYTES = 2 ** 30
const LEAST_BYTES = 100 * 2 ** 20

/**
 * A directory that is written to: it, or where it will be made, must be ours and have room.
 * @param path absolute
 */
export function directoryCheck(name: string, path: string): Check {
  return {
    name,
    run: async () => {
      const existing = await nearestExisting(path)
      if (!(await stat(existing)).isDirectory()) {
        const other = 'Name another directory, or move that file away.'
        return [failure(name, `${existing} is a file, not a directory`, other)]
      }
      if (isReadOnly(existing)) {
        return [
          failure(
            name,
            `${existing} is on a read-only file system`,
            `mount -o remount,rw "$(findmnt -no TARGET -T ${existing})", or use a directory elsewhere.`,
          ),
        ]
      }
      try {
        await access(existing, constants.R_OK | constants.W_OK | constants.X_OK)
      } catch {
        return [
          failure(
            name,
            `${existing} cannot be written to`,
            `chown "$(id -un)" ${existing} && chmod u+rwx ${existing}`,
          ),
        ]
      }
      return [await spaceIn(name, path, existing)]
    },
  }
}

async function spaceIn(name: string, path: string, existing: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(existing)
  const free = bavail * bsize
  const found = `${path}${existing === path ? '' : ' (will be made)'}: ${Math.floor(free / 2 ** 20).toLocaleString('en')} MiB free`
  const mend = `Make room (du -xh ${existing} | sort -h | tail), or use a directory on another disk.`
  if (free < LEAST_BYTES) return failure(name, `${found}, too little to work`, mend)
  if (free < ENOUGH_BYTES) return warning(name, `${found}, which a day of data may fill`, mend)
  return ok(name, found)
}

async function nearestExisting(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      await access(at)
      return at
    } catch (error) {
      if (dirname(at) === at) throw error
    }
  }
}

/** A port that a run will listen on. Port 0 is any that is free, so that there is nothing to look at. */
export function portCheck(name: string, host: string, port: number): Check {
  return {
    name,
    run: async () => {
      const code = await listenCode(host, port)
      if (code === null) return [ok(name, `${host}:${port} is free`)]
      const why = code === 'EADDRINUSE' ? 'is taken' : `cannot be listened on (${code})`
      return [
        warning(
          name,
          `${host}:${port} ${why}`,
          `See who has it (ss -ltnp 'sport = :${port}'), or choose another port (0: any).`,
        ),
      ]
    },
  }
}

function listenCode(host: string, port: number): Promise<string | null> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => done(null)))
  })
}
