import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newCommand } from '../../cli/commands/new.ts'
import { reportError } from '../../cli/errors.ts'

const CHECKOUT = join(import.meta.dirname, '..', '..')

interface Manifest {
  readonly name: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const manifestIn = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

describe('millrace new', () => {
  let scratch: string
  let cwd: string
  /** Where the package is: installed in cwd, unless a test says otherwise. */
  let root: string
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'millrace-new-'))
    cwd = join(scratch, 'work')
    root = join(cwd, 'node_modules', 'millrace')
    cpSync(join(CHECKOUT, 'templates'), join(root, 'templates'), { recursive: true })
  })
  afterEach(() => rmSync(scratch, { recursive: true, force: true }))

  /** @returns what was printed, or the error as it would be */
  function make(name: string): string {
    let stdout = ''
    const stream = { write: (text: string) => (stdout += text) }
    try {
      newCommand({ name, root, io: { stdout: stream, stderr: stream, env: {}, cwd } })
      return stdout
    } catch (error) {
      return reportError(error).text
    }
  }

  it('writes a folder that is named after the pipeline, and says what is next', () => {
    const stdout = make('my-shop')
    assert.match(stdout, /^ {2}cd my-shop\n {2}npm install\n {2}npx millrace run \.\/pipeline\.ts/m)
    const folder = join(cwd, 'my-shop')
    assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), [
      '.gitignore',
      'README.md',
      'millrace.json',
      'orders.ndjson',
      'package.json',
      'pipeline.ts',
      'test',
      'test/pipeline.test.ts',
      'tsconfig.json',
    ])
    assert.equal(manifestIn(folder).name, 'my-shop')
    assert.match(readFileSync(join(folder, 'pipeline.ts'), 'utf8'), /^ {2}name: 'my-shop',$/m)
    assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /^# my-shop$/m)
  })

  it('overwrites nothing, and then writes nothing', () => {
    mkdirSync(join(cwd, 'shop'))
    writeFileSync(join(cwd, 'shop', 'tsconfig.json'), 'mine')
    assert.equal(
      make('shop'),
      'error FILE_EXISTS: shop/tsconfig.json is there already, so nothing was written.\n' +
        '  Choose another name, or remove it.',
    )
    assert.deepEqual(readdirSync(join(cwd, 'shop')), ['tsconfig.json'])
    assert.equal(readFileSync(join(cwd, 'shop', 'tsconfig.json'), 'utf8'), 'mine')
  })

  for (const name of ['Shop', '1shop', 'my shop', '.shop', '@me/Shop']) {
    it(`refuses a name that a pipeline cannot have: ${name}`, () => {
      assert.match(make(name), /^error BAD_USAGE: '.*' cannot name a pipeline\.\n {2}Use lower-case letters/)
      assert.deepEqual(readdirSync(cwd), ['node_modules'])
    })
  }

  it('depends on the archive that it was itself installed from', () => {
    const lock = { packages: { 'node_modules/millrace': { resolved: 'file:../millrace-0.1.0.tgz' } } }
    writeFileSync(join(cwd, 'node_modules', '.package-lock.json'), JSON.stringify(lock))
    make('without')
    assert.match(manifestIn(join(cwd, 'without')).dependencies['millrace']!, /^\^\d/)
    writeFileSync(join(scratch, 'millrace-0.1.0.tgz'), '')
    make('deep/shop')
    assert.deepEqual(manifestIn(join(cwd, 'deep', 'shop')).dependencies, {
      millrace: 'file:../../../millrace-0.1.0.tgz',
    })
  })

  it('depends on the version that it has, where it came from the registry', () => {
    make('shop')
    const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as {
      version: string
    }
    assert.deepEqual(manifestIn(join(cwd, 'shop')).dependencies, { millrace: `^${version}` })
  })

  it('depends on the checkout that it runs in, which has to be built', () => {
    mkdirSync(join(root, 'cli'))
    writeFileSync(join(root, 'cli', 'main.ts'), '')
    assert.match(
      make('shop'),
      /^error NOT_SUPPORTED: the checkout .* is not built.*\n {2}Run 'npm run build' there\.$/,
    )
    assert.ok(!existsSync(join(cwd, 'shop')))
    mkdirSync(join(root, 'dist'))
    writeFileSync(join(root, 'dist', 'index.js'), '')
    make('shop')
    assert.deepEqual(manifestIn(join(cwd, 'shop')).dependencies, {
      millrace: 'file:../node_modules/millrace',
    })
  })

  it('names the versions that the repository itself is tested with', () => {
    make('shop')
    const ours = manifestIn(CHECKOUT).devDependencies
    const theirs = manifestIn(join(cwd, 'shop')).devDependencies
    const typescript = ours['@typescript/native']!.replace('npm:typescript@', '')
    assert.deepEqual(theirs, {
      '@types/mocha': ours['@types/mocha'],
      '@types/node': ours['@types/node'],
      mocha: ours['mocha'],
      typescript,
    })
  })
})
