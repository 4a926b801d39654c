import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../bridge/generator/random.ts'
import { testScale } from '../../config/test-scale.ts'
import { digestsIn, ordersRun, runOrders, Scratch, start, type Started } from './support.ts'

/** As many records as a run takes some seconds for. */
const RECORDS = '60000'
const MOST_RUNS = 20

describe('millrace run, when the power goes', function () {
  this.timeout(120_000 + testScale.copies * 60_000)
  const scratch = new Scratch()
  after(() => scratch.remove())

  it(`goes on from what is on the disk at random moments (${testScale.copies} copies), to the tables of an undisturbed run`, async function () {
    // Where a process stands still is seen there.
    if (process.platform !== 'linux') this.skip()
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
    const random = new Random().seed(seed, 0)
    const input = join(scratch.path, 'day.ndjson')
    const generated = await start(['generate', 'orders', '--count', RECORDS, '--out', input]).said
    assert.equal(generated.exitCode, 0, generated.stderr)

    const undisturbed = scratch.newDirectory()
    let lastedMs = await lastsMs(start(ordersRun(undisturbed, [input])))
    const expected = await digestsIn(undisturbed)

    const copies: { readonly directory: string; readonly atMs: number }[] = []
    // A run may end before its last moments, where the one before it took longer: the others are taken of a further one.
    for (let runs = 0; copies.length < testScale.copies; runs++) {
      assert.ok(runs < MOST_RUNS, `seed ${seed}: ${copies.length} copies in ${runs} runs`)
      const directory = scratch.newDirectory()
      const running = start(ordersRun(directory, [input]))
      const ended = lastsMs(running)
      await running.bound
      const boundMs = performance.now()
      const left = testScale.copies - copies.length
      const moments = Array.from({ length: left }, () => random.unit() * lastedMs).sort((a, b) => a - b)
      for (const atMs of moments) {
        await sleep(Math.max(0, boundMs + atMs - performance.now()))
        const copy = scratch.newDirectory()
        if (!(await copyStandingStill(running.pid, directory, copy))) break
        copies.push({ directory: copy, atMs: Math.round(atMs) })
      }
      lastedMs = await ended
      assert.deepEqual(await digestsIn(directory), expected, `seed ${seed}: the run that was copied`)
    }
    for (const { directory, atMs } of copies) {
      await runOrders(directory, [input])
      assert.deepEqual(await digestsIn(directory), expected, `seed ${seed}: the copy after ${atMs} ms`)
    }
  })
})

/** From its first line to its end, which it must come to well. */
async function lastsMs(running: Started): Promise<number> {
  await running.bound
  const boundMs = performance.now()
  const { exitCode, stderr } = await running.said
  assert.equal(exitCode, 0, stderr)
  return performance.now() - boundMs
}

/**
 * Copies a directory between two writes of the process that has it: what a power failure leaves behind, were the
 * disk to keep all that it was given.
 * @returns whether the process still ran
 */
async function copyStandingStill(pid: number, directory: string, copy: string): Promise<boolean> {
  try {
    process.kill(-pid, 'SIGSTOP')
  } catch {
    return false
  }
  try {
    while (!standsStill(pid)) await sleep(1)
    cpSync(directory, copy, { recursive: true })
  } finally {
    process.kill(-pid, 'SIGCONT')
  }
  return true
}

/** Every thread of it: one that is within a write finishes that first. */
function standsStill(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1')
    return /^[TtZ]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  })
}
