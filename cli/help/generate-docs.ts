/** Writes docs/commands.md; with `--check` only says whether it is as it would be written. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { buildProgram } from '../program.ts'
import { examplesOf } from './examples.ts'

const FILE = join(import.meta.dirname, '..', '..', 'docs', 'commands.md')
const WIDTH = 100

const HEAD = `# Commands

<!-- Made by \`npm run commands\` from cli/program.ts: change it there. -->

\`millrace <command> --help\` says the same. Settings that have no option are in [running.md](running.md).
`

function sectionOf(command: Command): string {
  command.configureHelp({ helpWidth: WIDTH })
  const examples = examplesOf(command.name()).trim()
  const text = `${command.helpInformation().trim()}${examples === '' ? '' : `\n\n${examples}`}`
  return `\n## ${command.name()}\n\n\`\`\`text\n${text}\n\`\`\`\n`
}

function silent(): { write: (text: string) => boolean } {
  return { write: () => true }
}

const io = { stdout: silent(), stderr: silent(), env: {}, cwd: process.cwd() }
const program = buildProgram([], io, () => undefined)
const page = HEAD + program.commands.map(sectionOf).join('')
if (!process.argv.includes('--check')) {
  writeFileSync(FILE, page)
} else if (!existsSync(FILE) || readFileSync(FILE, 'utf8') !== page) {
  process.stderr.write("docs/commands.md is not what cli/program.ts says: run 'npm run commands'.\n")
  process.exitCode = 1
}
