/** A machine that is busy may take many times as long as one that is not. */
const PATIENCE_MS = 60_000
const LOOK_EVERY_MS = 5

/** Resolves once it holds; looks again and again. @throws Error with what was waited for, and in vain */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string) = 'what the test waits for',
): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS
  while (!(await holds())) {
    if (performance.now() > deadlineMs) {
      throw new Error(`Not within ${PATIENCE_MS / 1_000} s: ${typeof what === 'string' ? what : what()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}
