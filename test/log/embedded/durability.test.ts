import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { testScale } from '../../../config/test-scale.ts'
import { openEmbeddedLog, type EmbeddedLog } from '../../../log/embedded/embedded-log.ts'

const CHILD = fileURLToPath(new URL('fixtures/commit-until-killed.ts', import.meta.url))

/** Runs the child until it has acknowledged `acknowledgements`, and kills it `delayMs` later. */
async function runAndKill(directory: string, acknowledgements: number, delayMs: number): Promise<number[]> {
  const child = spawn(process.execPath, [CHILD, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise<NodeJS.Signals | null>((resolve) =>
    child.on('exit', (_, signal) => resolve(signal)),
  )
  const last = [-1, -1]
  let count = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const [name, n] = line.split(' ').map(Number)
    last[name!] = n!
    if (++count === acknowledgements) setTimeout(() => child.kill('SIGKILL'), delayMs)
  }
  assert.equal(await exited, 'SIGKILL', 'the child ran until it was killed')
  return last
}

async function read(log: EmbeddedLog, topic: string, partition: number): Promise<Map<string, number[]>> {
  const numbers = new Map<string, number[]>([
    ['producer-0', []],
    ['producer-1', []],
  ])
  const reader = log.partitionReader({ topic, partition }, 0)
  for (let batch = await reader.read(1e6); batch !== null; batch = await reader.read(1e6)) {
    for (let i = 0; i < batch.count; i++) {
      numbers.get(batch.keyAt(i)!.toString())!.push(Number(batch.valueAt(i)!.toString()))
    }
  }
  return numbers
}

describe('the embedded log, killed with SIGKILL', () => {
  it('has everything that it acknowledged, and no transaction by halves, however often', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-kill-'))
    try {
      for (let kill = 0; kill < testScale.partKills; kill++) {
        const acknowledgements = 1 + Math.floor(Math.random() * 300)
        const delayMs = Math.random() * 4
        const acknowledged = await runAndKill(directory, acknowledgements, delayMs)
        const what = `kill ${kill}, ${delayMs.toFixed(1)} ms after acknowledgement ${acknowledgements}`

        const log = await openEmbeddedLog({ directory })
        for (const name of [0, 1]) {
          const [offset] = await log.admin.groupOffsets('counters', [{ topic: 'numbers', partition: name }])
          const committed = offset?.offset ?? 0
          assert(
            committed > acknowledged[name]!,
            `${what}: ${acknowledged[name]} was acknowledged, ${committed} are there`,
          )
          const expected = Array.from({ length: committed }, (_, n) => n)
          for (const partition of [0, 1, 2]) {
            const numbers = (await read(log, 'numbers', partition)).get(`producer-${name}`)
            assert.deepEqual(numbers, expected, `${what}: partition ${partition}`)
          }
          const latest = (await read(log, 'latest', 0)).get(`producer-${name}`)!
          assert.equal(
            latest.at(-1),
            committed === 0 ? undefined : committed - 1,
            `${what}: the compacted topic`,
          )
        }
        await log.close()
      }
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
