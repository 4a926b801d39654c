import { orLate } from '../../telemetry/time-limit.ts'

export type Status = 'ok' | 'warning' | 'error' | 'skipped'

export interface Finding {
  /** What was looked at: `kafka`, `redis memory`. */
  readonly check: string
  readonly status: Status
  /** What was found. */
  readonly message: string
  /** What to do, a command where there is one; null: nothing. */
  readonly mend: string | null
}

/** One thing that is looked at. It gives its findings, one at least, and throws nothing that it can explain. */
export interface Check {
  readonly name: string
  run(): Promise<readonly Finding[]> | readonly Finding[]
}

export function ok(check: string, message: string): Finding {
  return { check, status: 'ok', message, mend: null }
}

export function skipped(check: string, message: string): Finding {
  return { check, status: 'skipped', message, mend: null }
}

export function warning(check: string, message: string, mend: string | null): Finding {
  return { check, status: 'warning', message, mend }
}

export function failure(check: string, message: string, mend: string | null): Finding {
  return { check, status: 'error', message, mend }
}

/** Runs all side by side; a check that says nothing in time, or throws, is itself a finding. */
export async function runChecks(checks: readonly Check[], timeoutMs: number): Promise<Finding[]> {
  const answers = await Promise.all(
    checks.map(async (check): Promise<readonly Finding[]> => {
      const answer = await orLate(() => check.run(), timeoutMs)
      if ('value' in answer) return answer.value
      if ('late' in answer) {
        const message = `no answer within ${timeoutMs / 1000} s`
        return [
          failure(check.name, message, 'See whether the server is overloaded, or the network drops packets.'),
        ]
      }
      const { error } = answer
      const message = error instanceof Error ? error.message : String(error)
      return [failure(check.name, message, 'Mend what it says, and ask again.')]
    }),
  )
  return answers.flat()
}
