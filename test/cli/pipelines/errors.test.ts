import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { millrace } from '../support.ts'

/** A pipeline on one source `c` with the fields id and at; what is given is the body of `build`. */
function building(body: string, names = ''): string {
  return [
    `import { contract, definePipeline, source, string, timestamp${names} } from 'millrace'`,
    'const fields = { id: string(), at: timestamp() }',
    "const c = contract('C', fields, { id: ['id'], key: 'id', eventTime: 'at', disorder: '1h' })",
    "export default definePipeline({ name: 'x', sources: { c: source('c', c) }, build({ c }) {",
    body,
    '} })',
  ].join('\n')
}

interface Fault {
  readonly what: string
  /** Default `own.ts`. */
  readonly file?: string
  readonly content?: string
  readonly others?: Readonly<Record<string, string>>
  /** As printed: the error, where, what to do. */
  readonly says: readonly (string | RegExp)[]
}

const FAULTS: readonly Fault[] = [
  {
    what: 'is not there',
    others: { 'owm.ts': '' },
    says: ['error PIPELINE_NOT_LOADED: there is no file ./own.ts.', 'Did you mean ./owm.ts?'],
  },
  {
    what: 'is a directory',
    file: 'folder/',
    others: { 'folder/x.ts': '' },
    says: [
      'error PIPELINE_NOT_LOADED: ./folder is a directory.',
      'Name the file in it, such as folder/pipeline.ts.',
    ],
  },
  {
    what: 'is no module',
    file: './own.json',
    content: '{}',
    says: [
      'error PIPELINE_NOT_LOADED: ./own.json is no module.',
      'A pipeline is a file that ends in .ts, .mts, .js or .mjs, and exports it by default.',
    ],
  },
  {
    what: 'exports nothing',
    content: '',
    says: [
      'error PIPELINE_NOT_LOADED: ./own.ts exports nothing.',
      "It must have 'export default definePipeline({ … })'.",
    ],
  },
  {
    what: 'exports by name only',
    content: 'export const x = 1, shop = 2',
    says: [
      'error PIPELINE_NOT_LOADED: ./own.ts has no default export, only shop, x.',
      'Make the pipeline the default: export default …',
    ],
  },
  {
    what: 'exports something else',
    content: "export default { name: 'x', sources: {}, build() {} }",
    says: [
      'error PIPELINE_NOT_LOADED: the default export of ./own.ts is a definition that definePipeline was not called with.',
      'It must be what definePipeline({ … }) gives.',
    ],
  },
  {
    what: 'does not parse',
    content: 'export default 1\n\nconst a = }',
    says: [
      'error PIPELINE_NOT_LOADED: the file does not parse: Expression expected.',
      'at ./own.ts:3:11',
      'Mend what stands there, or just before it.',
    ],
  },
  {
    what: 'ends too early',
    content: 'export default {',
    says: [
      /^error PIPELINE_NOT_LOADED: the file does not parse: /,
      'at ./own.ts:1',
      /^Mend what stands there/,
    ],
  },
  {
    what: 'is JavaScript that does not parse',
    file: './own.mjs',
    content: 'export default 1\nconst a = }',
    says: [
      "error PIPELINE_NOT_LOADED: the file does not parse: Unexpected token '}'.",
      'at ./own.mjs:2:11',
      'Mend what stands there, or just before it.',
    ],
  },
  {
    what: 'has syntax that is more than types',
    content: 'const a: number = 1\n  enum Colour { red }\nexport default Colour',
    says: [
      'error PIPELINE_NOT_LOADED: TypeScript enum cannot be run.',
      'at ./own.ts:2:3',
      /^Node runs TypeScript by leaving the types out.*"erasableSyntaxOnly": true/,
    ],
  },
  {
    what: 'imports what millrace does not have',
    content: "import { source,\n  tumblin } from 'millrace'\nexport default tumblin",
    says: [
      "error PIPELINE_NOT_LOADED: 'millrace' has no export 'tumblin'.",
      'at ./own.ts:2:3',
      "Did you mean 'tumbling'?",
    ],
  },
  {
    what: 'imports a type as if it were a value',
    content: "import { RowOf } from 'millrace'\nexport default 1",
    says: [
      "error PIPELINE_NOT_LOADED: 'millrace' has no export 'RowOf'.",
      'at ./own.ts:1:10',
      "If it is a type, import it as one: import type { RowOf } from 'millrace'",
    ],
  },
  {
    what: 'does not import what it uses',
    content: building("  c.to(table('x.y'))"),
    says: [
      "error PIPELINE_NOT_LOADED: 'table' is not defined.",
      /^at \.\/own\.ts:5:\d+$/,
      "Import it: import { table } from 'millrace'",
    ],
  },
  {
    what: 'imports a package that is not installed',
    content: "import z from 'no-such-package/deep'\nexport default z",
    says: [
      "error PIPELINE_NOT_LOADED: the package 'no-such-package' is not installed.",
      'at ./own.ts',
      'Install it: npm install no-such-package',
    ],
  },
  {
    what: 'imports a file without its ending',
    content: "import { a } from './other'\nexport default a",
    others: { 'other.ts': 'export const a = 1' },
    says: [
      'error PIPELINE_NOT_LOADED: it imports ./other, which is not there.',
      'at ./own.ts',
      "Did you mean ./other.ts? Node takes a file's whole name, with its ending.",
    ],
  },
  {
    what: 'imports a file that throws',
    content: "import { a } from './other.ts'\nexport default a",
    others: { 'other.ts': "export const a = 1\nthrow new Error('out of orders')" },
    says: [
      'error PIPELINE_NOT_LOADED: Error: out of orders.',
      'at ./other.ts:2:7',
      /^Mend it; .*MILLRACE_DEBUG=1/,
    ],
  },
  {
    what: 'throws what is no error',
    content: "throw 'out of orders'",
    says: ['error PIPELINE_NOT_LOADED: ./own.ts threw "out of orders".', 'Throw an Error: it has a place.'],
  },
  {
    what: 'is CommonJS by its package.json',
    content: 'export default 1',
    others: { 'package.json': '{"type":"commonjs"}' },
    says: [
      'error PIPELINE_NOT_LOADED: the nearest package.json says that this is CommonJS.',
      'at ./own.ts:1:1',
      "A pipeline is an ES module: 'npm pkg set type=module', or let the file's name end in .mts.",
    ],
  },
  {
    what: 'maps without `as`',
    content: building("  c.map((x) => ({ id: x.id }))\n    .to(table('x.y'))", ', table'),
    says: [
      "error SCHEMA_MISSING: The stream into table 'x.y' has no schema, since types are erased at run time.",
      'at ./own.ts:6:6',
      "Name one at 'map-1' by { as: schema(...) }.",
    ],
  },
  {
    what: 'gives two nodes one name',
    content: building(
      "  for (const i of [1, 2]) c.window(tumbling('5m')).aggregate('m', { n: count() })",
      ', count, tumbling',
    ),
    says: [
      "error DUPLICATE_NAME: Two nodes are named 'm'.",
      'at ./own.ts:5:52',
      'Names must be unique in a pipeline: rename one of them.',
    ],
  },
  ...(
    [
      ["{ clusterBy: ['idd'] }", "is clustered by 'idd'"],
      ["{ key: ['idd'] }", "has the key column 'idd'"],
      ["{ partitionBy: day('idd') }", "is partitioned by the day of 'idd'"],
      ["{ descriptions: { idd: '' } }", "describes 'idd'"],
    ] as const
  ).map(([options, names]): Fault => ({
    what: `names a column that its table does not have: ${options}`,
    content: building(`  c.to(table('x.y', ${options}))`, ', day, table'),
    says: [
      `error BAD_OPTION: table 'x.y' ${names}, which C does not have.`,
      'at ./own.ts:5:5',
      'Its columns are id, at.',
    ],
  })),
  {
    what: 'partitions by a text',
    content: building("  c.to(table('x.y', { partitionBy: day('id') }))", ', day, table'),
    says: [
      "error BAD_OPTION: table 'x.y' is partitioned by the day of 'id', which is a string.",
      'at ./own.ts:5:5',
      'Name a timestamp.',
    ],
  },
  {
    what: 'groups by an unknown column',
    content: building(
      "  c.groupBy('idd').window(tumbling('5m')).aggregate('m', { n: count() })",
      ', count, tumbling',
    ),
    says: [
      "error BAD_OPTION: 'm' groups by 'idd', which C does not have.",
      'at ./own.ts:5:43',
      'Its columns are id, at.',
    ],
  },
  {
    what: 'looks for repetitions by an unknown column',
    content: building("  c.dedupe('once', { id: ['idd'] })"),
    says: [
      "error BAD_OPTION: dedupe 'once' compares 'idd', which C does not have.",
      'at ./own.ts:5:5',
      'Its columns are id, at.',
    ],
  },
  {
    what: 'has a contract whose key is no field',
    content:
      "import { contract, string, timestamp } from 'millrace'\nconst f = { id: string(), at: timestamp() }\n" +
      "export default contract('C', f, { id: ['id'], key: 'idd', eventTime: 'at', disorder: '1h' })",
    says: [
      'error INVALID_SCHEMA: Contract C: there is no field idd for its key.',
      'at ./own.ts:3:16',
      'Its fields are id, at.',
    ],
  },
]

describe("a pipeline file of one's own", () => {
  let cwd: string
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-own-'))
  })
  afterEach(() => rmSync(cwd, { recursive: true, force: true }))

  for (const { what, file = './own.ts', content, others = {}, says } of FAULTS) {
    it(`that ${what}, is told so: what, where, what to do`, async () => {
      const files = content === undefined ? others : { ...others, [file]: content }
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(cwd, path)), { recursive: true })
        writeFileSync(join(cwd, path), text)
      }
      const { exitCode, stdout, stderr } = await millrace(['describe', file], { cwd })
      assert.equal(exitCode, 1)
      assert.equal(stdout, '')
      const lines = stderr.trimEnd().split('\n  ')
      assert.equal(lines.length, says.length, stderr)
      for (const [i, expected] of says.entries()) {
        if (typeof expected === 'string') assert.equal(lines[i], expected)
        else assert.match(lines[i]!, expected)
      }
    })
  }

  for (const [file, content] of [
    ['own.ts', building('')],
    ['own.mts', building('')],
    ['own.mjs', building('')],
    ['own.js', building('')],
    [
      'own.cjs',
      building('')
        .replace(/^import (.*) from (.*)$/m, 'const $1 = require($2)')
        .replace('export default', 'module.exports ='),
    ],
  ] as const) {
    it(`is found by its path, and needs nothing installed: ${file}`, async () => {
      writeFileSync(
        join(cwd, 'package.json'),
        file === 'own.js' || file === 'own.ts' ? '{"type":"module"}' : '{}',
      )
      writeFileSync(join(cwd, file), content)
      const { exitCode, stdout, stderr } = await millrace(['describe', file], { cwd })
      assert.equal(exitCode, 0, stderr)
      assert.match(stdout, /^Topology of x/)
    })
  }
})

describe('a pipeline that does not compile, run all the same', () => {
  it('gives the records that it adds up by a misspelt field to the dead letters', async () => {
    const cwd = mkdtempSync(join(tmpdir(), 'millrace-own-'))
    try {
      const names = ', sum, table, tumbling'
      const body = "  c.window(tumbling('5m')).aggregate('m', { n: sum((x) => x.amout) }).to(table('x.y'))"
      writeFileSync(join(cwd, 'own.mts'), building(body, names))
      writeFileSync(join(cwd, 'in.ndjson'), '{"id":"a","at":"2026-01-02T03:04:05Z"}\n')
      const place = ['--data-dir', join(cwd, 'data')]
      const run = ['run', './own.mts', '--input', join(cwd, 'in.ndjson'), '--exit-when-done', ...place]
      const { exitCode, stderr } = await millrace(run, { cwd })
      assert.equal(exitCode, 0, stderr)
      const sql = 'select payload, reason from dead_letters'
      const { stdout } = await millrace(['query', './own.mts', '--sql', sql, '--json', ...place], { cwd })
      const { payload, reason } = JSON.parse(stdout) as { payload: string; reason: string }
      assert.match(reason, /sum: expected a finite number .* or null, got nothing/)
      assert.match(payload, /a/)
    } finally {
      rmSync(cwd, { recursive: true, force: true })
    }
  })
})
