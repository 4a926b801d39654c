import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { BIN, digestsIn, ordersRun, runOrders, Scratch, start } from './support.ts'

const RECORDS = '60000'
const isRoot = process.getuid?.() === 0

describe('millrace run, on bad storage', () => {
  const scratch = new Scratch()
  let input: string
  /** A run that was done, and what its tables hold. */
  let done: string
  let expected: Record<string, string>

  before(async () => {
    input = join(scratch.path, 'day.ndjson')
    const { exitCode, stderr } = await start(['generate', 'orders', '--count', RECORDS, '--out', input]).said
    assert.equal(exitCode, 0, stderr)
    done = scratch.newDirectory()
    await runOrders(done, [input])
    expected = await digestsIn(done)
  })
  after(() => scratch.remove())

  it('waits on a full disk, says how much is free, and goes on by itself when there is room', async function () {
    // The small disk is Linux' tmpfs, and nobody but root may mount it.
    if (process.platform !== 'linux' || !isRoot) this.skip()
    const disk = scratch.newDirectory()
    mkdirSync(disk)
    mount(['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk])
    try {
      const directory = join(disk, 'data')
      const running = watched(directory, input)
      await running.says(/0 of 6 MiB are free in .*data.*\. Nothing is lost; trying again until it works/)
      mount(['-o', 'remount,size=500m', disk])
      assert.equal(await running.exitCode, 0, running.stderr)
      assert.match(running.stdout, /going on/)
      assert.deepEqual(await digestsIn(directory), expected)
    } finally {
      assert.equal(spawnSync('umount', [disk]).status, 0)
    }
  })

  it('waits where its files may not grow, and goes on by itself when they may', async function () {
    // It is prlimit (of util-linux) that lifts the limit of a process that runs.
    if (process.platform !== 'linux') this.skip()
    const directory = scratch.newDirectory()
    const running = watched(directory, input, 3_000_000)
    await running.says(/MiB are free in .* Nothing is lost; trying again until it works/)
    // The run is the shell's own process: it gave itself up for it.
    const lifted = spawnSync('prlimit', ['--pid', String(running.pid), '--fsize=unlimited'])
    assert.equal(lifted.status, 0, String(lifted.stderr))
    assert.equal(await running.exitCode, 0, running.stderr)
    assert.deepEqual(await digestsIn(directory), expected)
  })

  it('refuses a directory that it may not write to, and leaves it as it is', async function () {
    // Root may write everywhere but where a mount forbids it, and the mount is Linux'.
    if (process.platform !== 'linux') this.skip()
    const directory = scratch.newDirectory()
    cpSync(done, directory, { recursive: true })
    if (isRoot) {
      mount(['--bind', directory, directory])
      mount(['-o', 'remount,ro,bind', directory])
    } else chmodSync(directory, 0o555)
    try {
      for (const [path, file] of [
        [directory, /lock/],
        [join(directory, 'new'), /new/],
      ] as const) {
        const { exitCode, stderr } = await start(ordersRun(path, [input])).said
        assert.equal(exitCode, 1)
        assert.match(
          stderr,
          /^error DATA_DIR_UNUSABLE: .*(read-only file system|EACCES)[^]*another --data-dir\./,
        )
        assert.match(stderr, isRoot ? /read-only file system/ : file)
      }
      assert.deepEqual(await digestsIn(directory), expected)
    } finally {
      if (isRoot) assert.equal(spawnSync('umount', [directory]).status, 0)
      else chmodSync(directory, 0o755)
    }
    await runOrders(directory, [input])
    assert.deepEqual(await digestsIn(directory), expected)
  })

  const OTHER = readFileSync(BIN)
  const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
    'is cut': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
    'is empty': (path) => truncateSync(path, 0),
    'is another program’s': (path) =>
      writeFileSync(path, Buffer.concat(Array.from({ length: 300 }, () => OTHER))),
  }
  for (const [file, words] of [
    [
      'log/data.mdb',
      /^error DAMAGED: The log is damaged[^]* Restore the whole data directory from a copy, or move it away/,
    ],
    [
      'state/data.mdb',
      /^error STATE_UNAVAILABLE: The state in .* is damaged: [^]* Remove that directory: it is a copy/,
    ],
    [
      'warehouse.duckdb',
      /^error WAREHOUSE_DAMAGED: .* is damaged or no DuckDB file[^]* Restore it from a copy, or move it away/m,
    ],
  ] as const) {
    for (const [how, damage] of Object.entries(DAMAGES)) {
      const isEmptyState = file.startsWith('state') && how === 'is empty'
      it(`${isEmptyState ? 'makes' : 'recognises'} ${file} ${isEmptyState ? 'again where it' : 'that'} ${how}${isEmptyState ? '' : ', and names the way out'}`, async () => {
        const directory = scratch.newDirectory()
        cpSync(done, directory, { recursive: true })
        damage(join(directory, file))
        const { exitCode, stderr } = await start(ordersRun(directory, [input])).said
        if (isEmptyState) {
          assert.equal(exitCode, 0, stderr)
          assert.deepEqual(await digestsIn(directory), expected)
          return
        }
        assert.equal(exitCode, 1, stderr)
        // An empty file of lmdb's is a new one: then the tables show that there was another log.
        const isNew = file.startsWith('log') && how === 'is empty'
        assert.match(stderr, isNew ? /error POSITION_MISMATCH: .* is of another log/ : words)
        if (!file.startsWith('warehouse')) assert.deepEqual(await digestsIn(directory), expected)
      })
    }
  }

  it('recognises a table’s file of which a byte has changed, and names the way out', async () => {
    const directory = scratch.newDirectory()
    cpSync(done, directory, { recursive: true })
    flip(join(directory, 'warehouse.duckdb'), 8_192 + 100)
    const { exitCode, stderr } = await start(ordersRun(directory, [input])).said
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error WAREHOUSE_DAMAGED: .*checksum[^]* Restore it from a copy, or move it away/m)
  })

  it('recognises a record of the log of which a byte has changed, when it is read, and names the way out', async () => {
    const directory = scratch.newDirectory()
    const isTable = (path: string): boolean => path.includes('warehouse.duckdb')
    cpSync(done, directory, { recursive: true, filter: (path) => !isTable(path) })
    const log = join(directory, 'log', 'data.mdb')
    // Somewhere in what the tables are made of, and now made of again.
    const { order_id: id } = JSON.parse(readFileSync(input, 'utf8').split('\n')[40_000]!) as {
      order_id: string
    }
    const at = readFileSync(log).lastIndexOf(id)
    assert.ok(at > 0)
    flip(log, at)
    const { exitCode, stderr } = await start(ordersRun(directory, [input])).said
    assert.equal(exitCode, 1, stderr)
    assert.match(
      stderr,
      /^error DAMAGED: The log is damaged: the segment of .* from offset \d+ on in .* has changed\./m,
    )
  })

  for (const [what, remove] of [
    ['the state', ['state']],
    ['the tables', ['warehouse.duckdb', 'warehouse.duckdb.wal']],
  ] as const) {
    it(`makes ${what} again from the log when they were moved away`, async () => {
      const directory = scratch.newDirectory()
      cpSync(done, directory, {
        recursive: true,
        filter: (path) => !remove.some((name) => path.endsWith(`/${name}`)),
      })
      await runOrders(directory, [input])
      assert.deepEqual(await digestsIn(directory), expected)
    })
  }
})

/** Changes a byte. */
function flip(path: string, at: number): void {
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, at)
  writeSync(file, Buffer.from([byte[0]! ^ 0xff]), 0, 1, at)
  closeSync(file)
}

function mount(args: readonly string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

/** A run whose words can be waited for. @param maxFileBytes what a file may grow to; it can be lifted */
function watched(directory: string, input: string, maxFileBytes: number | null = null) {
  const limit = maxFileBytes === null ? '' : `trap '' XFSZ; ulimit -S -f ${Math.floor(maxFileBytes / 1024)};`
  const child = spawn(
    'bash',
    ['-c', `${limit} exec "$0" "$@"`, process.execPath, BIN, ...ordersRun(directory, [input])],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const run = {
    pid: child.pid!,
    stdout: '',
    stderr: '',
    exitCode: once(child, 'close').then(([code]) => code as number | null),
    /** Resolves when it has said so. */
    says: async (words: RegExp): Promise<void> => {
      while (!words.test(run.stdout + run.stderr)) {
        assert.equal(child.exitCode, null, `it ended: ${run.stdout}${run.stderr}`)
        await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), run.exitCode])
      }
    },
  }
  child.stdout.on('data', (text: Buffer) => (run.stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => (run.stderr += text.toString()))
  return run
}
