import { setTimeout as sleep } from 'node:timers/promises'
import { StackError } from './errors.ts'

/**
 * Asks again and again until the answer is yes.
 * @throws StackError START_FAILED after `timeoutMs`
 */
export async function until(
  what: string,
  isSo: () => Promise<boolean>,
  { timeoutMs = 60_000, everyMs = 100 }: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await isSo())) {
    if (performance.now() > deadline) {
      throw new StackError('START_FAILED', `Not within ${timeoutMs / 1000} s: ${what}.`)
    }
    await sleep(everyMs)
  }
}
