import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { millrace } from '../support.ts'

const script = async (shell: string): Promise<string> => {
  const { exitCode, stdout, stderr } = await millrace(['completion', shell], { cwd: tmpdir() })
  assert.equal(exitCode, 0, stderr)
  return stdout
}

/** What bash offers for the last of the words. */
async function offered(...words: readonly string[]): Promise<string[]> {
  const ask = `${await script('bash')}
    COMP_WORDS=(millrace ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
    _millrace; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { status, stdout, stderr } = spawnSync('bash', ['-u', '-c', ask], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return stdout.split('\n').filter((line) => line !== '')
}

describe('completion in bash', () => {
  it('offers the commands', async () => {
    assert.deepEqual(await offered('pro'), ['process', 'provision'])
    assert.ok((await offered('')).includes('completion'))
  })

  it('offers the flags of a command, and of no other', async () => {
    assert.deepEqual(await offered('run', 'orders', '--exit'), ['--exit-when-done'])
    assert.deepEqual(await offered('query', 'orders', '--exit'), [])
    assert.deepEqual(await offered('query', 'orders', '--s'), ['--sql'])
  })

  it('offers the shipped pipelines, the shells and the commands where one is due', async () => {
    assert.deepEqual(await offered('run', 'o'), ['orders'])
    assert.deepEqual(await offered('completion', ''), ['bash', 'zsh', 'fish'])
    assert.deepEqual(await offered('help', 'ne'), ['new'])
  })

  it('leaves all else to the names of files', async () => {
    assert.deepEqual(await offered('run', './pipe'), [])
    assert.deepEqual(await offered('run', 'orders', '--input', 'da'), [])
    assert.match(await script('bash'), /^complete -o default -F _millrace millrace$/m)
  })
})

describe('completion', () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`for ${shell} is a script that it reads`, async function () {
      const { status, stderr, error } = spawnSync(shell, ['-n'], {
        input: await script(shell),
        encoding: 'utf8',
      })
      // Not every machine has zsh and fish.
      if (error !== undefined) this.skip()
      assert.equal(status, 0, stderr)
      assert.equal(stderr, '')
    })

    it(`for ${shell} has every flag of every command`, async () => {
      const text = await script(shell)
      const { stdout } = await millrace(['help', 'run'], { cwd: tmpdir() })
      const flags = [...stdout.matchAll(/--([a-z-]+)/g)].map(([, flag]) => flag!)
      assert.ok(flags.length > 10)
      for (const flag of flags) assert.match(text, new RegExp(`(--|-l )${flag}\\b`))
    })
  }

  it('for another shell is refused with those that there are', async () => {
    const { exitCode, stderr } = await millrace(['completion', 'tcsh'], { cwd: tmpdir() })
    assert.equal(exitCode, 2)
    assert.match(stderr, /^error BAD_USAGE: .*'tcsh'.*\n.*bash, zsh, fish/)
  })
})
