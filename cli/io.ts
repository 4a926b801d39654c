import type { ProgressOutput } from './progress.ts'
import type { Env } from './settings.ts'

/** What a command touches of the process around it, so that tests can stand in for it. */
export interface Io {
  readonly stdout: ProgressOutput
  readonly stderr: ProgressOutput
  readonly env: Env
  readonly cwd: string
}
