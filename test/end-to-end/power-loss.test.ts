import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../bridge/generator/random.ts'
import { testScale } from '../../config/test-scale.ts'
import { digestsIn, ordersRun, runOrders, Scratch, start } from './support.ts'

/** As many records as a run takes some seconds for. */
const RECORDS = '60000'

describe('millrace run, when the power goes', function () {
  this.timeout(60_000 + testScale.copies * 20_000)
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
    const begunMs = performance.now()
    await runOrders(undisturbed, [input])
    const wholeMs = performance.now() - begunMs
    const expected = await digestsIn(undisturbed)

    const directory = scratch.newDirectory()
    const copies: { readonly directory: string; readonly atMs: number }[] = []
    const running = start(ordersRun(directory, [input]))
    await running.bound
    const boundMs = performance.now()
    const moments = Array.from({ length: testScale.copies }, () => random.unit() * wholeMs)
    for (const atMs of moments.sort((a, b) => a - b)) {
      await sleep(Math.max(0, boundMs + atMs - performance.now()))
      const copy = scratch.newDirectory()
      if (!(await copyStandingStill(running.pid, directory, copy))) break
      copies.push({ directory: copy, atMs: Math.round(atMs) })
    }
    const { exitCode, stderr } = await running.said
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(await digestsIn(directory), expected, `seed ${seed}: the run that was copied`)
    assert.ok(copies.length > 0, `seed ${seed}: it ended before the first copy`)
    for (const { directory, atMs } of copies) {
      await runOrders(directory, [input])
      assert.deepEqual(await digestsIn(directory), expected, `seed ${seed}: the copy after ${atMs} ms`)
    }
  })
})

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
