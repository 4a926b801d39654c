import { Argument, Command, CommanderError } from 'commander'
import { CliError, EXIT, reportError } from './errors.ts'
import { completionScript, SHELLS, type Shell } from './help/completion.ts'
import { examplesOf } from './help/examples.ts'
import type { Io } from './io.ts'
import { ownVersion } from './version.ts'
import type { Role } from './wire/run.ts'

/**
 * Runs the command line as given (without node and script).
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly, 130 stopped by force
 */
export async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.ok
  const program = buildProgram(argv, io, (code) => {
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

/** The whole command line, not yet parsed. */
export function buildProgram(argv: readonly string[], io: Io, setExitCode: SetExitCode): Command {
  const program = new Command('millrace')
    .description('Exactly-once windowed pipelines, embedded on local disk or on Kafka and Redis.')
    .version(ownVersion(), '-V, --version')
    .helpCommand('help [command]', 'what a command takes')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(usageError(text)),
    })
    .addHelpText('after', `${examplesOf('')}\n${SETTINGS}`)
  addNew(program, io)
  addRun(program, io, setExitCode)
  addRoles(program, argv, io, setExitCode)
  addDescribe(program, io)
  addGenerate(program, io)
  addQuery(program, io)
  addProvision(program, io, setExitCode)
  addStatus(program, io)
  addDoctor(program, io, setExitCode)
  addCompletion(program, io)
  for (const command of program.commands) command.addHelpText('after', examplesOf(command.name()))
  return program
}

const SETTINGS = `
KAFKA_BROKERS in the environment selects Kafka, with KAFKA_SASL_…, KAFKA_TLS_…, REDIS_URL, REDIS_TLS_… and
SCHEMA_REGISTRY_URL; then bridge, process (any number) and sink may be processes of their own.
Settings come from flags, else the environment (MILLRACE_…), else ./millrace.json, else their defaults.`

function addNew(program: Command, io: Io): void {
  program
    .command('new')
    .description('write a folder with a pipeline of your own, its input and its test')
    .argument('<name>', 'of the folder and the pipeline')
    .action(async (name: string) => {
      const { newCommand } = await import('./commands/new.ts')
      newCommand({ name, io })
    })
}

function addCompletion(program: Command, io: Io): void {
  program
    .command('completion')
    .description('write what makes a shell complete this command')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .action(async (shell: Shell) => {
      const { shippedPipelines } = await import('./pipelines/load.ts')
      io.stdout.write(completionScript(program, shell, await shippedPipelines()))
    })
}

function addRun(program: Command, io: Io, setExitCode: SetExitCode): void {
  const run = program.command('run').description('run a pipeline: bridge, process and sink in one process')
  withStores(withSinkOptions(withBridgeOptions(withPipeline(run))))
    .option('--commit-interval <duration>', COMMIT_INTERVAL)
    .option('--exit-when-done', 'drain the finite input, close its windows, and end')
    .action(running(['bridge', 'process', 'sink'], io, setExitCode))
}

function addRoles(program: Command, argv: readonly string[], io: Io, setExitCode: SetExitCode): void {
  const bridge = program
    .command('bridge')
    .description("fill a pipeline's source topics, from files or made up")
  withStores(withBridgeOptions(withPipeline(bridge)))
    .option('--exit-when-done', 'read the finite input, end it with an end mark, and end')
    .action(running(['bridge'], io, setExitCode))

  const process = program
    .command('process')
    .description('process what is in the source topics; run any number')
  withStores(withPipeline(process))
    .option('--commit-interval <duration>', COMMIT_INTERVAL)
    .option('--exit-when-done', 'end when the sources have ended and all of it is processed')
    .option('--processes <n>', 'on Kafka: as so many processes that share the partitions out (default: 1)')
    .action(async (pipeline: string, flags: Record<string, unknown>) => {
      if (flags['processes'] === undefined) return running(['process'], io, setExitCode)(pipeline, flags)
      const { superviseCommand } = await import('./commands/supervise.ts')
      setExitCode(await superviseCommand({ argv, flags, io }))
    })

  const sink = program.command('sink').description("write a pipeline's tables; one process has their file")
  withStores(withSinkOptions(withPipeline(sink)))
    .option('--exit-when-done', 'end when the sources have ended and all that came of it is written')
    .action(running(['sink'], io, setExitCode))
}

const COMMIT_INTERVAL = 'between two commits at most, such as 200ms (default: adapted to the load)'

function running(roles: readonly Role[], io: Io, setExitCode: SetExitCode) {
  return async (pipeline: string, flags: Record<string, unknown>): Promise<void> => {
    const { runPipelineCommand } = await import('./commands/run.ts')
    setExitCode(await runPipelineCommand({ pipeline, roles, flags, io }))
  }
}

function withPipeline(command: Command): Command {
  return command.argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
}

const FORMAT =
  'ndjson, json, csv, parquet, avro or online-retail (default: by name and content); of one of several sources: ' +
  'SOURCE=FORMAT'
const INPUT =
  'files, directories, patterns, or - for standard input; of one of several sources: SOURCE=FILE; without any ' +
  'the generator makes the data'

/** An option that may be there several times, once for each source. */
function collected(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...value.split(',')]
}

function withBridgeOptions(command: Command): Command {
  return withGeneratorOptions(
    command
      .option('-f, --format <format>', FORMAT, collected)
      .option(
        '--csv-delimiter <character>',
        'between two columns: , ; | or tab (default: found from the header)',
      )
      .option('-i, --input <file...>', INPUT),
  ).option('--since <duration>', "the generator's history before now (default: 1h)")
}

function withSinkOptions(command: Command): Command {
  return command.option('-w, --warehouse <dir>', 'on Kafka: where the tables are (default: millrace-data)')
}

function withStores(command: Command): Command {
  return command
    .option('-d, --data-dir <dir>', 'log, state and warehouse on disk (default: millrace-data)')
    .option('--embedded', 'local disk even if KAFKA_BROKERS is set')
    .option('-p, --partitions <n>', 'of sources and internal topics; fixed once they exist (default: 4)')
    .option('--metrics-port <port>', '/metrics, /healthz and /readyz; 0 is any free port (default: none)')
    .option('--metrics-host <host>', 'what they are bound to (default: 127.0.0.1)')
    .option('--json', 'how it is getting on, one JSON object a line')
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
    .option('--source <name>', 'what for, where several sources have a generator')
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
    .option('-w, --warehouse <dir>', 'the same, of a pipeline on Kafka')
    .option('--limit <rows>', 'rows at most (default: 1000; a file has all)')
    .option('--json', 'one JSON object a row')
    .option('--chart', 'drawn over time where there is a time and a number, else as bars')
    .option(
      '-o, --output <file>',
      'as .csv, .json, .ndjson, .parquet or .html; a format alone names the file too',
    )
    .action(async (pipeline: string, name: string | undefined, flags: Record<string, unknown>) => {
      const { queryCommand } = await import('./commands/query.ts')
      await queryCommand({ pipeline, name: name ?? null, flags, io })
    })
}

function addProvision(program: Command, io: Io, setExitCode: SetExitCode): void {
  program
    .command('provision')
    .description('make the topics that a pipeline needs on Kafka, and set right those that are there')
    .argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
    .option('-p, --partitions <n>', 'of sources and internal topics; fixed once they exist (default: 4)')
    .option('--replication <n>', 'copies of each partition (default: 3, or as many as there are brokers)')
    .option('-y, --yes', 'carry the plan out without a question')
    .option('--dry-run', 'say the plan only')
    .action(async (pipeline: string, flags: Record<string, unknown>) => {
      const { provisionCommand } = await import('./commands/provision.ts')
      setExitCode(await provisionCommand({ pipeline, flags, io }))
    })
}

function addStatus(program: Command, io: Io): void {
  program
    .command('status')
    .description('show all processes of a pipeline, and how far each part of it is')
    .argument('<pipeline>', "a shipped pipeline's name, or the path of your own")
    .option('-d, --data-dir <dir>', 'where it runs, embedded (default: millrace-data)')
    .option('-w, --warehouse <dir>', 'on Kafka: where the tables are (default: millrace-data)')
    .option('--embedded', 'local disk even if KAFKA_BROKERS is set')
    .option('-p, --partitions <n>', 'of sources and internal topics (default: as they have)')
    .option('--watch', 'look again every two seconds, until Ctrl+C')
    .option('--json', 'one JSON object; with --watch one a look')
    .action(async (pipeline: string, flags: Record<string, unknown>) => {
      const { statusCommand } = await import('./commands/status.ts')
      await statusCommand({ pipeline, flags, io })
    })
}

function addDoctor(program: Command, io: Io, setExitCode: SetExitCode): void {
  program
    .command('doctor')
    .description('look at what a run needs, and say how to mend what is wrong')
    .argument('[pipeline]', 'its topics and rights too')
    .option('-d, --data-dir <dir>', 'log, state and warehouse on disk (default: millrace-data)')
    .option('-w, --warehouse <dir>', 'on Kafka: where the tables are (default: millrace-data)')
    .option('--embedded', 'local disk even if KAFKA_BROKERS is set')
    .option('--metrics-port <port>', 'whether it is free')
    .option('--metrics-host <host>', 'where it is bound to (default: 127.0.0.1)')
    .option('--json', 'one JSON object')
    .action(async (pipeline: string | undefined, flags: Record<string, unknown>) => {
      const { doctorCommand } = await import('./commands/doctor.ts')
      setExitCode(await doctorCommand({ pipeline: pipeline ?? null, flags, io }))
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
    .replace(/\.$/, '')
  const advice = "'millrace help' says what there is; 'millrace <command> --help' what it takes."
  return `${reportError(new CliError('BAD_USAGE', `${message}. ${advice}`)).text}\n`
}
