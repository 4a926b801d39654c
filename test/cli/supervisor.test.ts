import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { supervise, type Copy } from '../../cli/supervisor.ts'
import { until as untilSo } from '../support/until.ts'

describe('a command as several processes', () => {
  let directory: string
  let stop: AbortController
  let said: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-supervisor-'))
    stop = new AbortController()
    said = ''
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  /** Runs copies of a program; each has its letter as argument. */
  function running(program: string, letters: string, settledMs = 10_000, json = false): Promise<number> {
    const path = join(directory, 'program.mjs')
    writeFileSync(path, program)
    const output = { write: (text: string) => (said += text) }
    const copies = Array.from(letters, (letter): Copy => ({
      args: [letter],
      env: { ...process.env, directory },
    }))
    const options = { program: path, copies, signal: stop.signal, settledMs, json, random: () => 1 }
    return supervise({ ...options, stdout: output, stderr: output })
  }

  const until = (isSo: () => boolean): Promise<void> => untilSo(isSo, () => `said so far:\n${said}`)

  it('has one log, in which each line says whose it is', async () => {
    const program =
      'const a = process.argv[2]; console.log(`${a} one`); console.error(`${a} two`); console.log("end")'
    assert.equal(await running(program, 'AB'), 0)
    const lines = said.trim().split('\n').sort()
    assert.deepEqual(lines, ['[1] A one', '[1] A two', '[1] end', '[2] B one', '[2] B two', '[2] end'])
  })

  it('has JSON for programs, in which each object says whose it is', async () => {
    const program = 'console.log(JSON.stringify({ type: "start", name: process.argv[2] }))'
    assert.equal(await running(program, 'AB', 10_000, true), 0)
    const objects = said
      .trim()
      .split('\n')
      .sort()
      .map((line): unknown => JSON.parse(line))
    assert.deepEqual(objects, [
      { copy: 1, type: 'start', name: 'A' },
      { copy: 2, type: 'start', name: 'B' },
    ])
  })

  it('ends when all have ended well, not sooner', async () => {
    const program = 'setTimeout(() => console.log("done"), process.argv[2] === "A" ? 0 : 500)'
    assert.equal(await running(program, 'AB'), 0)
    assert.match(said, /\[2\] done/)
  })

  it('ends all cleanly when it is told to', async () => {
    const program = `process.on('SIGTERM', () => { console.log('committed'); process.exit(0) })
      setInterval(() => null, 1000); console.log('up')`
    const ended = running(program, 'AB')
    await until(() => said.includes('[1] up') && said.includes('[2] up'))
    stop.abort()
    assert.equal(await ended, 0)
    assert.match(said, /\[1\] committed/)
    assert.match(said, /\[2\] committed/)
  })

  it('ends with what one could not start for, and takes the others along', async () => {
    const program = `if (process.argv[2] === 'B') { console.error('error BAD_SETTING: …'); process.exit(2) }
      process.on('SIGTERM', () => process.exit(0)); setInterval(() => null, 1000)`
    assert.equal(await running(program, 'ABC'), 2)
    assert.match(said, /\[2\] error BAD_SETTING/)
  })

  it('starts one again that dies at work, and says so', async () => {
    const program = `import { appendFileSync } from 'node:fs'
      appendFileSync(process.env.directory + '/starts', process.argv[2])
      process.on('SIGTERM', () => process.exit(0)); setInterval(() => null, 1000)
      console.log(process.argv[2], 'pid', process.pid)`
    const ended = running(program, 'AB', 100)
    const starts = (): string => readFileSync(join(directory, 'starts'), 'utf8')
    await until(() => /\[1\] A pid \d+/.test(said) && /\[2\] B pid \d+/.test(said))
    await sleep(150)
    process.kill(Number(/\[2\] B pid (\d+)/.exec(said)![1]), 'SIGKILL')
    await until(() => starts().replaceAll('A', '') === 'BB')
    assert.match(said, /\[2\] ended by SIGKILL; starting it again in 0\.5 s\./)
    await until(() => said.match(/\[2\] B pid \d+/g)?.length === 2)
    stop.abort()
    assert.equal(await ended, 0)
    assert.equal(starts().replaceAll('B', ''), 'A')
  })
})
