/** `npm run demo`: a few hours of generated orders through the `orders` pipeline, and what came of them. */
import { rmSync } from 'node:fs'
import { holderOf } from './data-dir.ts'
import { runCommand } from './program.ts'

const DIRECTORY = 'millrace-demo'
const ORDERS = 50_000
/** So close to the 1,000 in five minutes that make a SPIKE that some windows are one. */
const ORDERS_PER_MINUTE = 202

const io = { stdout: process.stdout, stderr: process.stderr, env: process.env, cwd: process.cwd() }

async function millrace(...args: string[]): Promise<void> {
  console.log(`$ npx millrace ${args.map((arg) => (/^[\w./-]+$/.test(arg) ? arg : `"${arg}"`)).join(' ')}`)
  const exitCode = await runCommand(args, io)
  console.log()
  if (exitCode !== 0) process.exit(exitCode)
}

console.log(
  `${ORDERS.toLocaleString('en-US')} made-up orders, some broken and some delivered twice, go through the pipeline 'orders':\n` +
    `each order once into a table, metrics every five minutes, an alert where a window holds too many or too few\n` +
    `(the lines of JSON are what its alert consumer logs).\n` +
    `Log, state and tables are files in ./${DIRECTORY}; nothing else is needed.\n`,
)
// The directory is the demo's own, and each demo starts afresh; one that runs right now is left alone.
if (holderOf(DIRECTORY) === null) rmSync(DIRECTORY, { recursive: true, force: true })

const target = ['--data-dir', DIRECTORY]
const source = ['--count', String(ORDERS), '--rate', String(ORDERS_PER_MINUTE)]
await millrace('run', 'orders', ...source, '--exit-when-done', ...target)
await millrace('query', 'orders', 'summary', ...target)
await millrace('query', 'orders', 'latest-windows', ...target)
await millrace(
  'query',
  'orders',
  '--sql',
  "select split_part(reason, ':', 1) as reason, count(*) as records from dead_letters group by all order by 2 desc",
  ...target,
)
console.log(`The tables stay in ./${DIRECTORY}. Go on with:
  npx millrace query orders ${target.join(' ')}    what else can be asked
  npx millrace describe orders                          the topology
  npx millrace run orders                               live, until Ctrl+C`)
