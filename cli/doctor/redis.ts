import { failure, ok, skipped, warning, type Check } from './findings.ts'

/** As processor/state/redis/doctor.ts gives it. */
export interface RedisFinding {
  readonly ok: boolean
  readonly what: string
  readonly mend: string | null
  /** It cannot be worked with. */
  readonly refused: boolean
}

const NAME = 'redis'

/** @param look null: none is named */
export function redisCheck(look: (() => Promise<readonly RedisFinding[]>) | null): Check {
  return {
    name: NAME,
    run: async () => {
      if (look === null) {
        const mend = 'Set REDIS_URL (redis://host:port): state is kept there.'
        return [warning(NAME, 'REDIS_URL is not set: bridge and sink run without, process does not', mend)]
      }
      const findings = await look()
      if (findings.length === 0) return [skipped(NAME, 'nothing was found out')]
      return findings.map(({ ok: isFine, what, mend, refused }) => {
        if (isFine) return ok(NAME, what)
        return (refused ? failure : warning)(NAME, what, mend)
      })
    },
  }
}
