import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { npmProgram, USERS_NODE, USERS_NPMS } from '../../deploy/stack/servers.ts'
import { ownServer } from '../support/servers.ts'
import { rowsOf } from './support.ts'

const ROOT = join(import.meta.dirname, '..', '..')
/** The directory of the Node that is pinned for development, with nothing else in it. */
const PINNED_NODE = join(ROOT, 'node_modules', 'node', 'bin')
const PINNED = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly devDependencies: { readonly node: string }
  }
).devDependencies.node
/**
 * Every test of the installed package runs with each Node and each npm that the page promises. All four pairs:
 * one takes forty seconds, half of it npm's, and a fault between a Node and an npm would hide in a choice of two.
 */
const PAIRS = [USERS_NODE, PINNED].flatMap((node) => USERS_NPMS.map((npm) => ({ node, npm })))
/** With npm's registry, or its cache of it. */
const INSTALL_TIMEOUT_MS = 600_000

interface Said {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Somebody's shell: with these directories first on its PATH, without what stands on it for this repository's
 * sake, and without what npm tells the tests.
 */
class Shell {
  readonly #env: NodeJS.ProcessEnv

  /** @param home where `npm install -g` puts things */
  constructor(programs: readonly string[], home: string) {
    const env = Object.entries(process.env).filter(
      ([key]) => !/^(npm_|MILLRACE_|KAFKA_|NODE_|INIT_CWD$)/i.test(key),
    )
    const others = (process.env['PATH'] ?? '')
      .split(delimiter)
      .filter((path) => !path.includes('node_modules'))
    this.#env = {
      ...Object.fromEntries(env),
      PATH: [...programs, join(home, 'bin'), ...others].join(delimiter),
      npm_config_prefix: home,
      npm_config_prefer_offline: 'true',
    }
  }

  /** A command as a user types it. */
  command(cwd: string, name: string, ...args: readonly string[]): Said {
    const options = { cwd, env: this.#env, encoding: 'utf8', maxBuffer: 2 ** 26 } as const
    const { status, stdout, stderr, error } = spawnSync(name, args, options)
    if (error !== undefined) throw error
    return { exitCode: status, stdout, stderr }
  }

  /** @returns what it printed, once it has ended well */
  well(cwd: string, name: string, ...args: readonly string[]): string {
    const { exitCode, stdout, stderr } = this.command(cwd, name, ...args)
    assert.equal(exitCode, 0, `${name} ${args.join(' ')}\n${stdout}${stderr}`)
    return stdout
  }
}

const HOURS = `select country, hour(window_start), orders, revenue from shop.hourly order by 2, 1 nulls last`

const page = (): string => readFileSync(join(ROOT, 'docs', 'own-pipeline.md'), 'utf8')

interface Step {
  readonly line: string
  readonly shows: string
  readonly exitCode: number
}

/** The commands of the page in its order, each with what it is said to print. */
function transcript(): Step[] {
  const blocks = page()
    .split(/\n(?! {4}|\n {4})/)
    .filter((block) => block.includes('\n    $ ') || block.startsWith('    $ '))
  return blocks.flatMap((block) =>
    block
      .split(/^ {4}\$ /m)
      .slice(1)
      .map((step) => {
        const [line = '', ...shows] = step.split('\n')
        const exitCode = line.includes('pipelin.ts') ? 1 : 0
        return { line, shows: shows.map((text) => text.slice(4)).join('\n'), exitCode }
      }),
  )
}

/** Lines without what differs from run to run. */
function comparable(text: string): string[] {
  return text.split('\n').map((line) => line.trimEnd().replace(/\d+\.\d s\b|\d+ms\b/, 'a moment'))
}

describe('the package, installed outside of the repository', function () {
  this.timeout(INSTALL_TIMEOUT_MS)
  let scratch: string
  let packed: readonly string[]

  before(() => {
    scratch = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-package-')))
    const checkout = join(scratch, 'millrace')
    mkdirSync(checkout)
    const shell = new Shell([PINNED_NODE], join(scratch, 'home'))
    shell.well(ROOT, 'npm', 'pack', '--silent', '--pack-destination', checkout)
    const [archive] = readdirSync(checkout)
    packed = shell
      .well(checkout, 'tar', '-tzf', archive!)
      .trim()
      .split('\n')
      .map((path) => path.replace('package/', ''))
  })
  after(() => rmSync(scratch, { recursive: true, force: true }))

  it('has what is read at run time, and nothing of the tests', () => {
    for (const asset of globSync('{processor,log,bridge,sinks}/**/*.lua', { cwd: ROOT }))
      assert.ok(packed.includes(`dist/${asset}`), asset)
    for (const asset of globSync('schemas/avsc/*', { cwd: ROOT })) assert.ok(packed.includes(`dist/${asset}`))
    assert.deepEqual(
      packed.filter(
        (path) => !/^(dist|templates|cli\/millrace\.js$|package\.json$|README|LICENSE)/.test(path),
      ),
      [],
    )
    assert.deepEqual(
      packed.filter((path) => /^dist\/(test|bench|deploy|templates)\//.test(path)),
      [],
    )
  })

  it('is what the page has: pipeline and test', () => {
    for (const file of ['pipeline.ts', 'test/pipeline.test.ts', 'millrace.json']) {
      const text = readFileSync(join(ROOT, 'templates', 'pipeline', file), 'utf8')
      assert.ok(page().includes(`\`\`\`${file.endsWith('.ts') ? 'ts' : 'json'}\n${text}\`\`\``), file)
    }
  })

  for (const { node, npm } of PAIRS) {
    describe(`with Node ${node} and npm ${npm}`, () => {
      const name = `node-${node}-npm-${npm}`
      const home = `home-of-${name}`
      let shell: Shell
      let folder: string
      let shop: string
      let said: Said[]

      before(async function () {
        const nodes = node === PINNED ? PINNED_NODE : await ownServer(this, () => npmProgram('node', node))
        const npms = await ownServer(this, () => npmProgram('npm', npm))
        folder = join(scratch, name)
        shop = join(folder, 'shop')
        mkdirSync(folder)
        shell = new Shell([nodes, npms], join(scratch, home))
        let at = folder
        said = []
        for (const { line, exitCode } of transcript()) {
          if (line === 'cd shop') at = shop
          const outcome = shell.command(at, 'bash', '-c', line === 'cd shop' ? 'true' : line)
          said.push(outcome)
          // What comes next would only hide it.
          if (outcome.exitCode !== exitCode) break
        }
      })
      after(() => {
        for (const path of [name, home]) rmSync(join(scratch, path), { recursive: true, force: true })
      })

      it('runs on these', () => {
        const versions = `v${node}\n${npm}\n${npm}\n`
        const ask = 'node --version; npm --version; npx --version'
        assert.equal(shell.well(folder, 'bash', '-c', ask), versions)
        assert.equal(shell.well(folder, 'npx', '--call', ask), versions)
        // As the command itself sees them.
        writeFileSync(
          join(folder, 'versions.mts'),
          "throw new Error([process.version, process.env['npm_config_user_agent']].join())",
        )
        const { stderr } = shell.command(folder, 'npx', 'millrace', 'describe', './versions.mts')
        assert.ok(stderr.includes(`Error: v${node},npm/${npm} node/v${node} `), stderr)
      })

      it('runs thirty lines of TypeScript, with rows in DuckDB', async () => {
        const template = join(ROOT, 'templates', 'pipeline')
        copyFileSync(join(template, 'pipeline.ts'), join(folder, 'my-pipeline.ts'))
        copyFileSync(join(template, 'orders.ndjson'), join(folder, 'orders.ndjson'))
        const data = join(folder, 'data')
        const args = ['--input', 'orders.ndjson', '--exit-when-done', '--data-dir', data]
        const stdout = shell.well(folder, 'npx', 'millrace', 'run', './my-pipeline.ts', ...args)
        assert.match(stdout, /12 records read, 1 of them invalid/)
        assert.deepEqual(await rowsOf(data, 'select count(*), sum(amount) from shop.orders'), [[10n, 307.2]])
        assert.deepEqual(await rowsOf(data, 'select field from dead_letters'), [['amount']])
      })

      it("runs the page's generator beside it", async () => {
        const [, generator] = /```ts\n(import type \{ RecordMaker \}.*?)```/s.exec(page()) ?? []
        appendFileSync(join(folder, 'my-pipeline.ts'), generator!)
        const args = ['--count', '60', '--bad-share', '0.5', '--exit-when-done', '--data-dir', 'made']
        assert.match(
          shell.well(folder, 'npx', 'millrace', 'run', './my-pipeline.ts', ...args),
          /60 records read/,
        )
        const rows = await rowsOf(
          join(folder, 'made'),
          'select (select count(*) from shop.orders) > 10, (select count(*) from dead_letters) > 10',
        )
        assert.deepEqual(rows, [[true, true]])
      })

      it('runs the shipped pipeline by its name', () => {
        const args = ['--count', '200', '--exit-when-done', '--data-dir', 'orders-data']
        assert.match(shell.well(folder, 'npx', 'millrace', 'run', 'orders', ...args), /200 records read/)
      })

      it('keeps its young generation small', () => {
        writeFileSync(join(folder, 'flags.mts'), 'throw new Error(process.execArgv.join())')
        const { exitCode, stderr } = shell.command(folder, 'npx', 'millrace', 'describe', './flags.mts')
        assert.equal(exitCode, 1)
        assert.match(
          stderr,
          /^error PIPELINE_NOT_LOADED: Error: --max-semi-space-size=8\.\n {2}at \.\/flags\.mts:1:7$/m,
        )
      })

      describe('by the quick start of docs/own-pipeline.md, word for word,', () => {
        it('gives what the page shows', () => {
          for (const [index, { line, shows, exitCode }] of transcript().entries()) {
            const { exitCode: actual, stdout, stderr } = said[index]!
            assert.equal(actual, exitCode, `${line}\n${stdout}${stderr}`)
            const lines = comparable(stdout + stderr)
            for (const expected of comparable(shows).filter((text) => text !== '' && text !== '…'))
              assert.ok(lines.includes(expected), `${line}\nlacks: ${expected}\nhas:\n${lines.join('\n')}`)
          }
        })

        if (npm.startsWith('12.')) {
          it("needs no package's install script, which npm 12 does not run", () => {
            assert.match(said[0]!.stderr, /install scripts blocked/)
          })
        }

        it('leaves rows in DuckDB', async () => {
          assert.deepEqual(await rowsOf(join(shop, 'millrace-data'), HOURS), [
            ['France', 8n, 2n, 32.5],
            ['Germany', 8n, 2n, 107.15],
            ['Spain', 8n, 1n, 18],
            [null, 8n, 1n, 41.1],
            ['France', 9n, 2n, 74.7],
            ['Germany', 9n, 1n, 5],
            ['Spain', 9n, 1n, 28.75],
          ])
        })

        it('adds nothing twice, and begins afresh without its data', async () => {
          const orders = 'select count(*) from shop.orders'
          const again = (): string =>
            shell.well(shop, 'npx', 'millrace', 'run', './pipeline.ts', '--exit-when-done')
          assert.match(again(), / 0 records read/)
          assert.deepEqual(await rowsOf(join(shop, 'millrace-data'), orders), [[10n]])
          shell.well(shop, 'rm', '-r', 'millrace-data')
          assert.match(again(), / 12 records read/)
          assert.deepEqual(await rowsOf(join(shop, 'millrace-data'), orders), [[10n]])
        })

        it('names the line of a fault', () => {
          const file = join(shop, 'pipeline.ts')
          const pipeline = readFileSync(file, 'utf8')
          writeFileSync(
            file,
            pipeline.replace('{ orders: s', '{ hourly: s').replace('({ orders })', '({ hourly: orders })'),
          )
          const { exitCode, stderr } = shell.command(shop, 'npx', 'millrace', 'describe', './pipeline.ts')
          writeFileSync(file, pipeline)
          assert.equal(exitCode, 1)
          const [shown] = /^ {4}error DUPLICATE_NAME.*?\n\n/ms.exec(page())!
          for (const line of comparable(shown.replaceAll(/^ {4}/gm, '')))
            assert.ok(comparable(stderr).includes(line), stderr)
        })

        it('passes its test, and fails it when the pipeline is another', () => {
          assert.match(shell.well(shop, 'npm', 'test'), /1 passing/)
          const file = join(shop, 'pipeline.ts')
          const pipeline = readFileSync(file, 'utf8')
          writeFileSync(file, pipeline.replace('sum((o) => o.amount)', 'sum((o) => 2 * o.amount)'))
          const { exitCode, stdout } = shell.command(shop, 'npm', 'test')
          writeFileSync(file, pipeline)
          assert.notEqual(exitCode, 0)
          assert.match(stdout, /\+ +65|- +32\.5/)
        })

        it('compiles, and does not with a field that the contract does not have', () => {
          shell.well(shop, 'npx', 'tsc', '--noEmit')
          // With the package's own declarations looked through.
          shell.well(shop, 'npx', 'tsc', '--noEmit', '--skipLibCheck', 'false')
          const file = join(shop, 'pipeline.ts')
          const pipeline = readFileSync(file, 'utf8')
          writeFileSync(file, pipeline.replace('sum((o) => o.amount)', 'sum((o) => o.amout)'))
          const { exitCode, stdout } = shell.command(shop, 'npx', 'tsc', '--noEmit')
          writeFileSync(file, pipeline)
          assert.notEqual(exitCode, 0)
          assert.match(stdout, /pipeline\.ts\(\d+,\d+\): error TS2551: .*'amout'.*'amount'/)
        })

        it('has examples in its help', () => {
          for (const help of [['--help'], ['run', '--help']])
            assert.match(shell.well(shop, 'npx', 'millrace', ...help), /^Examples?:/m)
        })

        // Node has no part in it.
        if (node === PINNED) {
          it('completes on the command line, with the command on the PATH', () => {
            shell.well(folder, 'npm', 'install', '-g', '../millrace/millrace-0.1.0.tgz')
            const completion = 'source <(millrace completion bash); complete -p millrace'
            assert.match(shell.well(scratch, 'bash', '-c', completion), /-F \S+ millrace/)
            assert.match(shell.well(scratch, 'millrace', 'completion', '--help'), /zsh[^]*fish/)
          })
        }

        it('is understood by another copy of the command too', () => {
          const bin = join(folder, 'node_modules', '.bin', 'millrace')
          assert.match(shell.well(shop, bin, 'describe', './pipeline.ts'), /Topology of shop/)
        })
      })
    })
  }
})
