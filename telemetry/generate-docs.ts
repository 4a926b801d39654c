/** Writes docs/metrics.md; with \`--check\` only says whether it is as it would be written. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderMetricsPage } from './docs.ts'

const FILE = join(import.meta.dirname, '..', 'docs', 'metrics.md')

const page = renderMetricsPage()
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, page)
} else if (read() !== page) {
  process.stderr.write("docs/metrics.md is not what telemetry/families.ts says: run 'npm run metrics'.\n")
  process.exitCode = 1
}

function read(): string | null {
  try {
    return readFileSync(FILE, 'utf8')
  } catch {
    return null
  }
}
