import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { hasImage, startContainer } from '../../../deploy/stack/containers.ts'

/** Notes what it is asked, and fails where the file `fails` holds a word of it. */
const DOCKER = `#!/bin/sh
cd "$(dirname "$0")" || exit
echo "$@" >> asked
echo "$@" | grep -q -f fails && exit 1
exit 0
`

describe('servers in containers', () => {
  const path = process.env['PATH']
  let directory = ''

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-docker-'))
    writeFileSync(join(directory, 'docker'), DOCKER)
    chmodSync(join(directory, 'docker'), 0o755)
    failAt()
    process.env['PATH'] = [directory, path].join(delimiter)
  })
  afterEach(() => {
    process.env['PATH'] = path
    rmSync(directory, { recursive: true, force: true })
  })

  const failAt = (...words: readonly string[]): void =>
    writeFileSync(join(directory, 'fails'), words.map((word) => `${word}\n`).join(''))
  const asked = (): string[] => readFileSync(join(directory, 'asked'), 'utf8').trimEnd().split('\n')

  it('are used where an engine has the image of docker-compose.yml', async () => {
    assert.equal(await hasImage('kafka'), true)
    assert.match(asked()[0]!, /^image inspect apache\/kafka:\d/)
    failAt('image')
    assert.equal(await hasImage('redis'), false)
    failAt('version')
    assert.equal(await hasImage('redis'), false)
    process.env['PATH'] = join(directory, 'empty')
    assert.equal(await hasImage('redis'), false)
  })

  it('are started healthy, on a port of their own, without a download, and removed with their volumes', async () => {
    const { env, stop } = await startContainer('redis')
    assert.match(env['REDIS_URL']!, /^redis:\/\/localhost:\d+$/)
    await stop()
    const [up, down] = asked()
    assert.match(up!, /docker-compose\.yml --project-name (\S+) up --detach --wait --pull never redis$/)
    assert.match(down!, /docker-compose\.yml --project-name (\S+) down --volumes/)
  })

  it('are removed when they do not become healthy', async () => {
    failAt(' up ')
    await assert.rejects(startContainer('kafka'), { code: 'BUILD_FAILED' })
    assert.match(asked()[1]!, / down --volumes/)
  })
})
