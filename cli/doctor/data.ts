/** What is in a data directory already. */
import { existsSync, openSync, readSync, statSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../config/clock.ts'
import { lmdbDamage } from '../../log/lmdb-file.ts'
import { holderOf } from '../data-dir.ts'
import { formatElapsed } from '../output/format.ts'
import { failure, ok, warning, type Check, type Finding } from './findings.ts'

/** Behind what is on the disk by more: file systems and networks round, and clocks are set by a little. */
const MOST_SKEW_MS = 2_000
const DUCKDB_MAGIC = { at: 8, text: 'DUCK' }

/** Whether its files are what they should be. They are looked at, not read through. */
export function dataCheck(path: string): Check {
  const name = 'data'
  return {
    name,
    run: () => {
      const found: Finding[] = []
      const parts = ['log', 'state', 'warehouse.duckdb'].map((part) => join(path, part))
      if (!parts.some((part) => existsSync(part))) return [ok(name, 'nothing has run here yet')]
      const log = lmdbDamage(join(path, 'log'))
      if (log !== null) {
        found.push(
          failure(
            name,
            log,
            `Restore ${path} from a copy, or mv ${path} ${path}.damaged and run again on the same input.`,
          ),
        )
      }
      const state = lmdbDamage(join(path, 'state'))
      if (state !== null) {
        found.push(
          failure(
            name,
            state,
            `rm -r ${join(path, 'state')} (a copy, which the next run makes again from the log)`,
          ),
        )
      }
      const warehouse = join(path, 'warehouse.duckdb')
      if (existsSync(warehouse) && !isDuckDb(warehouse)) {
        const aside = `mv ${warehouse} ${warehouse}.damaged && rm -f ${warehouse}.wal`
        found.push(
          failure(
            name,
            `${warehouse} is no DuckDB file`,
            `Restore it from a copy, or ${aside} (the next run fills it from the log)`,
          ),
        )
      }
      if (found.length > 0) return found
      const holder = holderOf(path)
      if (holder !== null) {
        return [
          ok(
            name,
            `in use by process ${holder.pid}, so that another run waits for its end; status and query work`,
          ),
        ]
      }
      return [ok(name, 'its files are what they should be')]
    },
  }
}

function isDuckDb(path: string): boolean {
  const file = openSync(path, 'r')
  try {
    const magic = Buffer.alloc(DUCKDB_MAGIC.text.length)
    readSync(file, magic, 0, magic.length, DUCKDB_MAGIC.at)
    return magic.toString('latin1') === DUCKDB_MAGIC.text
  } finally {
    closeSync(file)
  }
}

/** Event times are compared with the clock, and leases run by it: one that was set back holds windows open. */
export function clockCheck(path: string, clock: Clock): Check {
  const name = 'clock'
  return {
    name,
    run: () => {
      const files = ['log/data.mdb', 'state/data.mdb', 'warehouse.duckdb'].map((file) => join(path, file))
      const nowMs = clock.nowMs()
      const written = files.filter((file) => existsSync(file)).map((file) => statSync(file).mtimeMs)
      const aheadMs = Math.max(0, ...written) - nowMs
      const now = new Date(nowMs).toISOString()
      if (aheadMs <= MOST_SKEW_MS) return [ok(name, now)]
      return [
        warning(
          name,
          `it is ${now}, and files in ${path} are from ${formatElapsed(aheadMs)} later: the clock was set back`,
          'timedatectl set-ntp true',
        ),
      ]
    },
  }
}
