import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BIN } from './support.ts'

describe('the command on an old Node', () => {
  for (const version of ['20.20.2', '22.17.1', '23.5.0']) {
    it(`says what to do instead of failing on a type (${version})`, () => {
      const { status, stdout, stderr } = onNode(version)
      assert.equal(status, 1)
      assert.equal(stdout, '')
      assert.match(stderr, new RegExp(`^error OLD_NODE: this is Node ${version}, and Millrace needs 22\\.18`))
      assert.match(stderr, /'npm ci'/)
    })
  }

  it('says in a package how to come by a newer one', () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-bin-'))
    try {
      // As it is in the package: alone.
      const bin = join(directory, 'millrace.js')
      copyFileSync(BIN, bin)
      writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
      const { status, stderr } = onNode('20.20.2', bin)
      assert.equal(status, 1)
      assert.match(
        stderr,
        /^error OLD_NODE: this is Node 20\.20\.2.*\n {2}Install Node 24 .*'npm install node@24'/,
      )
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  for (const version of ['22.18.0', '23.6.0', '24.0.0', '26.1.0']) {
    it(`goes on where types are stripped (${version})`, () => {
      const { status, stdout } = onNode(version)
      assert.equal(status, 0)
      assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
    })
  }
})

/** The command's version, asked on a Node that claims to be another. */
function onNode(version: string, bin = BIN): { status: number | null; stdout: string; stderr: string } {
  const disguise = `const versions = { ...process.versions, node: '${version}' }
    Object.defineProperty(process, 'versions', { value: versions })`
  return spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(disguise)}`, bin, '--version'],
    {
      encoding: 'utf8',
    },
  )
}
