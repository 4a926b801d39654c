import assert from 'node:assert/strict'
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { holderOf, openDataDir, processStart, type LockHolder } from '../../cli/data-dir.ts'
import { killed, Processes } from './support.ts'

const HOLDER = join(import.meta.dirname, 'fixtures', 'hold-data-dir.ts')
type Child = ChildProcessByStdio<Writable, Readable, null>

describe('the data directory', () => {
  let root: string
  let directory: string
  const processes = new Processes()

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'millrace-data-dir-'))
    directory = join(root, 'data')
  })
  afterEach(async () => {
    await processes.kill()
    rmSync(root, { recursive: true, force: true })
  })

  it('is made when missing, marked with its format, and given free again', () => {
    const held = openDataDir(directory)
    assert.equal(held.path, directory)
    assert.equal(readFileSync(join(directory, 'format'), 'utf8'), '1\n')
    assert.equal(holderOf(directory)?.pid, process.pid)
    held.release()
    assert.deepEqual(readdirSync(directory), ['format'])
    assert.equal(holderOf(directory), null)
    openDataDir(directory).release()
  })

  it('is refused to a second process, which is told the pid of the first', async () => {
    const first = await hold()
    assert.equal(first.said, `held ${first.child.pid}`)
    assert.throws(() => openDataDir(directory), {
      code: 'DATA_DIR_IN_USE',
      message: new RegExp(`in use by process ${first.child.pid}\\b.*--data-dir`),
    })
    assert.deepEqual(readdirSync(directory).sort(), ['format', 'lock'], 'nothing of the attempt stays')
  })

  it('is free as soon as its holder has been killed', async () => {
    const first = await hold()
    await killed(first.child)
    assert.ok(existsSync(join(directory, 'lock')), 'a killed process leaves its lock')
    openDataDir(directory).release()
    assert.deepEqual(readdirSync(directory), ['format'])
  })

  it('is free after its holder has exited by itself', async () => {
    const first = await hold()
    first.child.stdin.end()
    await once(first.child, 'exit')
    assert.deepEqual(readdirSync(directory), ['format'])
  })

  it('is free when the pid of its dead holder belongs to another process now', () => {
    openDataDir(directory).release()
    const lock: LockHolder = { pid: process.ppid, startedAt: '1', bootId: null, nonce: 'a'.repeat(24) }
    writeFileSync(join(directory, 'lock'), JSON.stringify(lock))
    if (processStart(process.ppid) === null) return // The system does not tell start times.
    const held = openDataDir(directory)
    assert.equal(holderOf(directory)?.pid, process.pid)
    held.release()
  })

  it('is free after a reboot, whoever has the pid', () => {
    openDataDir(directory).release()
    const startedAt = processStart(process.pid) ?? null
    const lock: LockHolder = { pid: process.pid, startedAt, bootId: 'an earlier boot', nonce: 'b'.repeat(24) }
    writeFileSync(join(directory, 'lock'), JSON.stringify(lock))
    openDataDir(directory).release()
  })

  it('is still held where start times cannot be told and the pid lives', () => {
    openDataDir(directory).release()
    const lock: LockHolder = { pid: process.pid, startedAt: null, bootId: null, nonce: 'c'.repeat(24) }
    writeFileSync(join(directory, 'lock'), JSON.stringify(lock))
    assert.throws(() => openDataDir(directory, { startOf: () => null }), { code: 'DATA_DIR_IN_USE' })
  })

  it('goes to exactly one of many that find a stale lock at the same moment', async () => {
    openDataDir(directory).release()
    for (let round = 0; round < 3; round++) {
      const dead: LockHolder = {
        pid: 2 ** 22 + 1,
        startedAt: '1',
        bootId: null,
        nonce: `${round}`.repeat(24),
      }
      writeFileSync(join(directory, 'lock'), JSON.stringify(dead))
      const outcomes = await Promise.all(Array.from({ length: 6 }, () => hold()))
      const holders = outcomes.filter(({ said }) => said.startsWith('held'))
      assert.equal(holders.length, 1, JSON.stringify(outcomes.map(({ said }) => said)))
      assert.equal(holderOf(directory)?.pid, holders[0]!.child.pid)
      for (const { child } of outcomes) await killed(child)
    }
  })

  it('is taken over from one that died while it took over itself', () => {
    openDataDir(directory).release()
    const dead = (nonce: string): string =>
      JSON.stringify({ pid: 2 ** 22 + 1, startedAt: '1', bootId: null, nonce } satisfies LockHolder)
    const [first, second, third] = ['1'.repeat(24), '2'.repeat(24), '3'.repeat(24)] as const
    writeFileSync(join(directory, 'lock'), dead(first))
    writeFileSync(join(directory, `lock.after-${first}`), dead(second))
    writeFileSync(join(directory, `lock.after-${second}`), dead(third))
    writeFileSync(join(directory, `lock.${third}`), dead(third))
    const held = openDataDir(directory)
    assert.deepEqual(readdirSync(directory).sort(), ['format', 'lock'])
    held.release()
  })

  it('is not taken from somebody whose lock cannot be read', () => {
    openDataDir(directory).release()
    writeFileSync(join(directory, 'lock'), 'garbage')
    assert.throws(() => openDataDir(directory), {
      code: 'DATA_DIR_UNUSABLE',
      message: /lock is damaged.*remove/,
    })
    assert.equal(readFileSync(join(directory, 'lock'), 'utf8'), 'garbage')
  })

  it('of a later format is refused, and left free for the version that knows it', () => {
    openDataDir(directory).release()
    writeFileSync(join(directory, 'format'), '2\n')
    assert.throws(() => openDataDir(directory), {
      code: 'DATA_DIR_FORMAT',
      message: /has format 2.*knows format 1/,
    })
    assert.deepEqual(readdirSync(directory), ['format'])
  })

  it('cannot be a file', () => {
    writeFileSync(directory, '')
    assert.throws(() => openDataDir(directory), {
      code: 'DATA_DIR_UNUSABLE',
      message: /a file is in its place/,
    })
    assert.throws(() => openDataDir(join(directory, 'below')), { code: 'DATA_DIR_UNUSABLE' })
  })

  /** A process that tries to hold the directory until its standard input ends, and what it said of it. */
  async function hold(): Promise<{ child: Child; said: string }> {
    const child = processes.add(
      spawn(process.execPath, [HOLDER, directory], { stdio: ['pipe', 'pipe', 'inherit'] }),
    )
    const [said] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    return { child, said }
  }
})
