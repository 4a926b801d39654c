import { Command, CommanderError } from 'commander'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT, reportError } from './errors.ts'
import type { Io } from './io.ts'

/**
 * Runs the command line as given (without node and script).
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly, 130 stopped by force
 */
export async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.ok
  const program = buildProgram(io, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    const report = reportError(error, { debug: (io.env['MILLRACE_DEBUG'] ?? '') !== '' })
    io.stderr.write(`${report.text}\n`)
    return report.exitCode
  }
}

type SetExitCode = (code: number) => void

// Each command is imported when it is asked for: a --help need not load the databases' native libraries.

function buildProgram(io: Io, setExitCode: SetExitCode): Command {
  const program = new Command('millrace')
    .description('Exactly-once windowed pipelines, embedded on local disk.')
    .version(ownVersion(), '-V, --version')
    .helpCommand('help [command]', 'what a command takes')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(usageError(text)),
    })
    .addHelpText('after', EXAMPLES)
  addRun(program, io, setExitCode)
  addDescribe(program, io)
  addGenerate(program, io)
  addQuery(program, io)
  return program
}

const EXAMPLES = `
Examples:
  millrace run orders                              the generator, into ./millrace-data; Ctrl+C ends it
  millrace run orders --input day.ndjson --data-dir d --exit-when-done
  millrace query orders                            the pipeline's named queries
  millrace query orders --sql "select count(*) from ecommerce_orders.orders"

Settings come from flags, else MILLRACE_… in the environment, else ./millrace.json, else their defaults.`

function addRun(program: Command, io: Io, setExitCode: SetExitCode): void {
  withGeneratorOptions(
    program
      .command('run')
      .description('run a pipeline: sources, processing and sinks in one process')
      .argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
      .option('-f, --format <format>', 'how the input is written (default: ndjson)')
      .option(
        '-i, --input <file...>',
        'files to read, in this order; without any the generator makes the data',
      )
      .option('-d, --data-dir <dir>', 'log, state and warehouse on disk (default: millrace-data)')
      .option(
        '-p, --partitions <n>',
        'of sources and internal topics; fixed once a directory has them (default: 4)',
      )
      .option('--exit-when-done', 'drain the finite input, close its windows, and end')
      .option('--embedded', 'local disk even if KAFKA_BROKERS is set'),
  )
    .option('--since <duration>', "the generator's history before now (default: 1h)")
    .action(async (pipeline: string, flags: Record<string, unknown>) => {
      const { runPipelineCommand } = await import('./commands/run.ts')
      setExitCode(await runPipelineCommand({ pipeline, flags, io }))
    })
}

function addDescribe(program: Command, io: Io): void {
  program
    .command('describe')
    .description("print a pipeline's topology")
    .argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
    .option('--mermaid', 'as a Mermaid diagram')
    .action(async (pipeline: string, flags: { mermaid?: boolean }) => {
      const { describeCommand } = await import('./commands/describe.ts')
      await describeCommand({ pipeline, mermaid: flags.mermaid ?? false, io })
    })
}

function addGenerate(program: Command, io: Io): void {
  withGeneratorOptions(
    program
      .command('generate')
      .description("write what a pipeline's generator makes, as NDJSON")
      .argument('<pipeline>', "a shipped pipeline's name, or the path of your own"),
  )
    .option('-o, --out <file>', 'a file instead of standard output')
    .action(async (pipeline: string, flags: Record<string, unknown>) => {
      const { generateCommand } = await import('./commands/generate.ts')
      await generateCommand({ pipeline, flags, io })
    })
}

function addQuery(program: Command, io: Io): void {
  program
    .command('query')
    .description("ask the warehouse; without a name: list the pipeline's queries")
    .argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
    .argument('[name]', 'one of its named queries')
    .option('--sql <text>', 'a query of your own')
    .option('-d, --data-dir <dir>', 'where the pipeline ran (default: millrace-data)')
    .option('--limit <rows>', 'rows at most (default: 1000)')
    .option('--json', 'one JSON object a row')
    .action(async (pipeline: string, name: string | undefined, flags: Record<string, unknown>) => {
      const { queryCommand } = await import('./commands/query.ts')
      await queryCommand({ pipeline, name: name ?? null, flags, io })
    })
}

function withGeneratorOptions(command: Command): Command {
  return command
    .option('--count <n>', 'records the generator makes (default: run: no end; generate: 1000)')
    .option('--rate <n>', 'records a minute of event time (default: 500)')
    .option('--bad-share <share>', 'how many of them are invalid (default: 0.01)')
    .option('--seed <n>', 'another seed, other records (default: 1)')
}

function usageError(text: string): string {
  const message = text
    .replace(/^error: /, '')
    .trimEnd()
    .replaceAll('\n', ' ')
  return `error BAD_USAGE: ${message}\n  'millrace help' says what there is; 'millrace <command> --help' what it takes.\n`
}

function ownVersion(): string {
  const manifest = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
