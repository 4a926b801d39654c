import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const HELPERS = JSON.stringify(join(import.meta.dirname, 'servers.ts'))

/** Asks for the shared Redis as a worker of mocha would, says what it got, and stays until its input ends. */
const ASK = `
  import { sharedRedis } from ${HELPERS}
  const test = { timeout: () => 0, skip: () => { process.stdout.write('skipped\\n'); process.exit() } }
  const { url } = await sharedRedis(test)
  process.stdout.write(url + '\\n')
  process.stdin.resume()
`

describe('servers that tests share', () => {
  let directory = ''
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'millrace-shared-'))))
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  const worker = (env: NodeJS.ProcessEnv = {}): { said: Promise<string>; end(): Promise<unknown> } => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', ASK], {
      env: { ...process.env, TMPDIR: directory, MOCHA_WORKER_ID: '0', REQUIRE_STACK: '', ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    const said = once(child.stdout, 'data').then(([text]) => String(text as Buffer).trim())
    return {
      said,
      end: () => {
        child.stdin.end()
        return ended
      },
    }
  }

  it('are one for all workers of a run', async () => {
    const workers = [worker(), worker(), worker()]
    const [first, ...others] = await Promise.all(workers.map(({ said }) => said))
    assert.match(first!, /^redis:\/\/127\.0\.0\.1:\d+$|^skipped$/)
    for (const other of others) assert.equal(other, first)
    for (const { end } of workers) await end()
  })

  it('are started again where the worker that had them is gone', async () => {
    const first = worker()
    const before = await first.said
    await first.end()
    const later = worker()
    if (before !== 'skipped') assert.notEqual(await later.said, before)
    await later.end()
  })

  it('may be named by the environment', async () => {
    const { said, end } = worker({ MILLRACE_TEST_REDIS_URL: 'redis://elsewhere:1' })
    assert.equal(await said, 'redis://elsewhere:1')
    await end()
  })

  it('skip the tests that need them where they cannot be had', async () => {
    const { said, end } = worker({ PATH: directory, XDG_CACHE_HOME: directory })
    assert.equal(await said, 'skipped')
    await end()
  })
})
