import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cached, stackCache } from '../../../deploy/stack/cache.ts'
import { findProgram, run } from '../../../deploy/stack/command.ts'
import { StackError } from '../../../deploy/stack/errors.ts'

describe("the cache of servers' programs", () => {
  let root = ''
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'millrace-cache-'))))
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  it('stands where XDG_CACHE_HOME says', () => {
    assert.equal(stackCache({ XDG_CACHE_HOME: '/caches' }), '/caches/millrace/stack')
    assert.match(stackCache({}), /\.cache\/millrace\/stack$/)
  })

  it('builds a program once', async () => {
    let builds = 0
    const build = async (directory: string): Promise<void> => {
      builds++
      await writeFile(join(directory, 'program'), 'built')
    }
    const first = await cached('server-1', build, root)
    assert.equal(await cached('server-1', build, root), first)
    assert.equal(builds, 1)
    assert.equal(await readFile(join(first, 'program'), 'utf8'), 'built')
  })

  it('lets two processes build the same at once, and keeps one', async () => {
    const bothBuild = Promise.withResolvers<undefined>()
    let builds = 0
    const build = async (directory: string): Promise<void> => {
      if (++builds === 2) bothBuild.resolve(undefined)
      await bothBuild.promise
      await writeFile(join(directory, 'program'), 'built')
    }
    const [one, other] = await Promise.all([cached('server-1', build, root), cached('server-1', build, root)])
    assert.equal(one, other)
    assert.deepEqual(readdirSync(root), ['server-1'])
  })

  it('keeps nothing of a build that failed', async () => {
    const build = async (directory: string): Promise<void> => {
      await writeFile(join(directory, 'half'), '')
      throw new StackError('BUILD_FAILED', 'no network')
    }
    await assert.rejects(cached('server-1', build, root), { code: 'BUILD_FAILED' })
    assert.deepEqual(readdirSync(root), [])
    assert.ok(!existsSync(join(root, 'server-1')))
  })
})

describe('programs that servers need', () => {
  it('are named with the way to get them when they are missing', () => {
    assert.throws(() => findProgram('no-such-program', '`apt-get install it`.'), {
      code: 'MISSING_PROGRAM',
      message: 'no-such-program is not on the PATH: `apt-get install it`.',
    })
  })

  it('show the end of what they said when they fail', async () => {
    await assert.rejects(run('sh', ['-c', 'echo out; echo wrong >&2; exit 3']), {
      code: 'BUILD_FAILED',
      message: /ended with 3\. The end of what it said:\n(out\nwrong|wrong\nout)\n/,
    })
  })
})
