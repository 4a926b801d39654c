import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const BIN = join(import.meta.dirname, '..', '..', 'cli', 'millrace.js')

describe('the command on an old Node', () => {
  for (const version of ['20.20.2', '22.17.1', '23.5.0']) {
    it(`says what to do instead of failing on a type (${version})`, () => {
      const { status, stdout, stderr } = onNode(version)
      assert.equal(status, 1)
      assert.equal(stdout, '')
      assert.match(stderr, new RegExp(`^error OLD_NODE: this is Node ${version}, and Millrace needs 22\\.18`))
      assert.match(stderr, /npx millrace/)
    })
  }

  for (const version of ['22.18.0', '23.6.0', '24.0.0', '26.1.0']) {
    it(`goes on where types are stripped (${version})`, () => {
      const { status, stdout } = onNode(version)
      assert.equal(status, 0)
      assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
    })
  }
})

/** The command's version, asked on a Node that claims to be another. */
function onNode(version: string): { status: number | null; stdout: string; stderr: string } {
  const disguise = `const versions = { ...process.versions, node: '${version}' }
    Object.defineProperty(process, 'versions', { value: versions })`
  return spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(disguise)}`, BIN, '--version'],
    {
      encoding: 'utf8',
    },
  )
}
