import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import type { Pipeline } from '../../processor/topology/pipeline.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PLACE = '// The lines of this page.'

/** The page's pipeline with all its lines, as one file. */
function pageAsPipeline(): string {
  const page = readFileSync(join(ROOT, 'docs', 'dsl.md'), 'utf8')
  const [pipeline, ...blocks] = [...page.matchAll(/^```ts\n([^]*?)^```/gm)].map(([, block]) => block!)
  const rows = [...page.matchAll(/^\|.*\| `([^`]+)` \|$/gm)].map(([, line]) => line!)
  assert.ok(rows.length > 20 && blocks.length > 0)
  assert.ok(pipeline!.includes(PLACE))
  return pipeline!
    .replace(PLACE, () => [...rows, ...blocks].join('\n'))
    .replaceAll("from 'millrace'", `from '${join(ROOT, 'index.ts')}'`)
}

describe('docs/dsl.md', () => {
  let directory: string
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-dsl-'))
    writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(directory, 'page.ts'), pageAsPipeline())
  })
  after(() => rmSync(directory, { recursive: true }))

  it('compiles, every line', () => {
    const config = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        noUnusedLocals: false,
        rewriteRelativeImportExtensions: false,
        typeRoots: [join(ROOT, 'node_modules', '@types')],
      },
      files: ['page.ts'],
      include: [],
    }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
    const compiler = join(ROOT, 'node_modules', '@typescript', 'native', 'bin', 'tsc')
    const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', directory], { encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  })

  it('runs, and every output that it names gets something', async () => {
    const page = (await import(pathToFileURL(join(directory, 'page.ts')).href)) as { default: Pipeline }
    const driver = await PipelineDriver.open(page.default, { startMs: Date.UTC(2026, 0, 2), partitions: 2 })
    const order = (id: string, minute: number, country: string | null, amount: number): object => {
      return { id, country, amount, at: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() }
    }
    await driver.send('web', [
      order('w-1', 10, 'Norway', 20),
      order('w-22', 5, null, 120),
      order('w-3', 300, 'Chile', 1),
      // Three hours and more behind.
      order('w-4', 6, 'Norway', 5),
    ])
    await driver.send('shop', [order('s-1', 20, 'Norway', 20), order('s-2', 1, 'Norway', 7)])
    await driver.settle()
    // Long enough for both sources to stall.
    await driver.pass(11 * 60_000)
    await driver.end()
    await driver.settle()
    const rows: Record<string, Record<string, unknown>[]> = {}
    for (const { node } of driver.plan.sinks) rows[node.name] = await driver.rows(node.name)
    const named = Object.keys(rows).filter((name) => !name.endsWith('-late'))
    const empty = named.filter((name) => rows[name]!.length === 0)
    assert.deepEqual(empty, [])
    const norway = ({ country }: Record<string, unknown>): boolean => country === 'Norway'
    const edges = rows['dsl.edges']!.find(norway)!
    assert.deepEqual([edges['opening'], edges['latest']], [7, 's-1'])
    const largest = rows['dsl.largest']!.find(norway)!
    assert.deepEqual([largest['id'], largest['amount']], ['w-1', 20])
    assert.deepEqual(rows['silent']!.map(({ source }) => source).sort(), ['shop', 'web'])
    assert.deepEqual(await driver.deadLetters(), [])
    await driver.close()
  })
})
