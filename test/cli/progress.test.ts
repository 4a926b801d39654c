import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Progress } from '../../cli/progress.ts'

describe('progress', () => {
  it('goes line by line into a pipe, and says nothing twice', async () => {
    const output = recorder(false)
    let reads = 0
    const enough = Promise.withResolvers<void>()
    const progress = new Progress({
      output,
      everyMs: 1,
      line: () => {
        if (++reads === 6) enough.resolve()
        return reads < 4 ? 'first' : 'second'
      },
    })
    await keepAlive(enough.promise)
    progress.stop()
    assert.deepEqual(output.written, ['first\n', 'second\n'])
  })

  it('stays in one line of a terminal, no wider than it, and makes room for other lines', async () => {
    const output = recorder(true, 30)
    const shown = Promise.withResolvers<void>()
    const progress = new Progress({
      output,
      everyMs: 1,
      line: () => {
        setImmediate(shown.resolve)
        return 'a line that is longer than thirty columns'
      },
    })
    await keepAlive(shown.promise)
    progress.say('something happened')
    progress.stop()
    const text = output.written.join('')
    assert.match(text, /^\r\u001b\[2Ka line that is longer than t…/)
    assert.match(text, /\r\u001b\[2Ksomething happened\n/)
    assert.ok(text.endsWith('\r\u001b[2K'), 'nothing of the progress stays')
  })
})

/** The timer of a progress keeps no process alive; in a run the work does. */
async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const abort = new AbortController()
  const alive = sleep(60_000, undefined, { signal: abort.signal }).catch(() => undefined)
  try {
    return await promise
  } finally {
    abort.abort()
    await alive
  }
}

function recorder(
  isTTY: boolean,
  columns = 80,
): { isTTY: boolean; columns: number; written: string[]; write(text: string): void } {
  const written: string[] = []
  return { isTTY, columns, written, write: (text) => void written.push(text) }
}
