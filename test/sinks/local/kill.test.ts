import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryWarehouse } from '../../../sinks/local/query-client.ts'
import { testScale } from '../../../config/test-scale.ts'
import { APPENDED, LATEST, PARTITIONS, ROWS, SLOTS, TABLES } from './fixtures/rows.ts'
import { readFile, removeDirectory, temporaryDirectory } from './support.ts'

const WRITER = join(import.meta.dirname, 'fixtures/writing-process.ts')

describe('a warehouse whose process is killed', function () {
  this.timeout(300_000)
  let directory: string

  beforeEach(() => {
    directory = temporaryDirectory()
  })
  afterEach(() => removeDirectory(directory))

  it('has exactly the rows below its position, at any moment, and every row once in the end', async () => {
    const seed = Date.now() % 1_000_000
    const random = generator(seed)
    for (let kill = 0; kill < testScale.partKills; kill++) {
      await runAndKill(directory, random() * 400)
      await assertExact(`seed ${seed}, kill ${kill}`)
    }
    // The dead process' socket and write-ahead log are no hindrance to whoever asks now.
    const sql = 'SELECT sum(next_offset)::BIGINT AS sum FROM _millrace.positions'
    const { rows } = await queryWarehouse({ directory, sql })
    assert.deepEqual(rows, [[(await readFile(file(), sql))[0]!['sum']]])
    assert.equal(await runToTheEnd(directory), 0)
    await assertExact(`seed ${seed}, at the end`)
    const [count] = await readFile(file(), `SELECT sum(next_offset) AS sum FROM _millrace.positions`)
    assert.equal(count!['sum'], TABLES.length * PARTITIONS * ROWS)
  })

  it('waits while the disk is full, and goes on with nothing lost or doubled', async function () {
    // It is prlimit (of util-linux) that makes the disk full.
    if (spawnSync('prlimit', ['--version']).status !== 0) this.skip()
    const { lines, code } = await runOnFullDisk(directory)
    assert.equal(code, 0)
    await assertExact('after the disk was full')
    const said = TABLES.map(({ name }) =>
      lines
        .filter((line) => line.endsWith(` ${name}`) && !line.startsWith('prepared'))
        .map((line) => line.split(' ')[0]),
    )
    assert.ok(said.flat().length > 0)
    for (const kinds of said) {
      const alternating = kinds.map((_, i) => (i % 2 === 0 ? 'waiting' : 'resumed'))
      assert.deepEqual(
        [kinds, kinds.length % 2],
        [alternating, 0],
        'it says once that it waits and once that it goes on',
      )
    }
    const [count] = await readFile(file(), `SELECT sum(next_offset) AS sum FROM _millrace.positions`)
    assert.equal(count!['sum'], TABLES.length * PARTITIONS * ROWS)
  })

  const file = (): string => join(directory, 'warehouse.duckdb')

  async function assertExact(what: string): Promise<void> {
    const positions = await readFile(file(), 'SELECT * FROM _millrace.positions')
    for (const table of APPENDED) {
      const found = await readFile(
        file(),
        `SELECT count(*) AS count, count(DISTINCT id) AS ids, coalesce(max(id) + 1, 0) AS next, part
         FROM ${table} GROUP BY part`,
      ).catch(() => [])
      for (let part = 0; part < PARTITIONS; part++) {
        const next = positions.find((row) => row['destination'] === table && row['partition'] === part)
        const rows = found.find((row) => row['part'] === part) ?? { count: 0, ids: 0, next: 0, part }
        const expected = (next?.['next_offset'] ?? 0) as number
        assert.deepEqual(
          rows,
          { count: expected, ids: expected, next: expected, part },
          `${what}: ${table}, partition ${part}`,
        )
      }
    }
    for (const { partition, next_offset } of positions.filter((row) => row['destination'] === LATEST)) {
      const found = await readFile(
        file(),
        `SELECT id FROM ${LATEST} WHERE part = ${String(partition)} ORDER BY id`,
      )
      const next = next_offset as number
      assert.deepEqual(
        found.map(({ id }) => id),
        Array.from({ length: Math.min(next, SLOTS) }, (_, i) => Math.max(0, next - SLOTS) + i),
        `${what}: ${LATEST}, partition ${String(partition)}`,
      )
    }
  }
})

async function runAndKill(directory: string, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, [WRITER, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  for await (const line of createInterface(child.stdout)) if (line === 'writing') break
  await Promise.race([sleep(afterMs), exited])
  child.kill('SIGKILL')
  await exited
}

async function runToTheEnd(directory: string): Promise<number> {
  const child = spawn(process.execPath, [WRITER, directory], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = (await once(child, 'exit')) as [number]
  return code
}

/** The limit on a file's size stands for the disk: a write beyond it fails until the limit is lifted. */
async function runOnFullDisk(directory: string): Promise<{ lines: string[]; code: number }> {
  const limited = `trap '' XFSZ; ulimit -S -f 2000; exec '${process.execPath}' '${WRITER}' '${directory}'`
  const child = spawn('bash', ['-c', limited], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines: string[] = []
  for await (const line of createInterface(child.stdout)) {
    lines.push(line)
    if (line.startsWith('waiting')) spawnSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited'])
  }
  const [code] = (await exited) as [number]
  return { lines, code }
}

/** mulberry32: small, seeded, good enough to choose moments. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
