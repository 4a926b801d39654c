import type { TopicConfig } from '../../log/port.ts'
import { CliError, EXIT } from '../errors.ts'
import type { Io } from '../io.ts'
import { counted } from '../output/format.ts'
import { loadPipeline } from '../pipelines/load.ts'
import type { ProvisionPlan } from '../provision/compare.ts'
import { askOnTerminal, type Ask } from '../provision/consent.ts'
import { lookAtTopics } from '../provision/look.ts'
import { planReport } from '../provision/report.ts'
import { resolveSettings } from '../settings/settings.ts'
import { createTopics, inspectTopics, type TopicInspector } from '../wire/servers.ts'

export interface ProvisionArguments {
  readonly pipeline: string
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
  /** null: nobody is there to be asked. Default: the terminal, where there is one. */
  readonly ask?: Ask | null
}

/**
 * Makes the topics that a pipeline needs, and sets right those that are there: says what it will do, asks, and
 * does it. Deletes nothing and shrinks nothing.
 * @returns the exit code: 1 where something stands in the way, or the answer was no
 * @throws CliError BAD_USAGE without consent; LogError where Kafka cannot be used
 */
export async function provisionCommand({
  pipeline: name,
  flags,
  io,
  ask = askOnTerminal(),
}: ProvisionArguments): Promise<number> {
  const { stack, dataDir, partitions } = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  const replicationFactor = replicationOf(flags['replication'] as string | undefined)
  const { pipeline } = await loadPipeline(name, io.cwd)
  if (stack === null) {
    io.stdout.write(
      `Embedded, 'millrace run ${name}' makes what it needs in ${dataDir}: nothing to provision. ` +
        `KAFKA_BROKERS would name a Kafka.\n`,
    )
    return EXIT.ok
  }
  const kafka = await inspectTopics(stack.kafka)
  try {
    const { plan, difference } = await lookAtTopics(kafka, {
      pipeline,
      partitions,
      replicationFactor,
      hasRegistry: stack.registry !== null,
    })
    const where = stack.kafka.brokers.join(',')
    io.stdout.write(
      `${plan.application} on ${where} (${counted(kafka.brokerCount, 'broker')})\n${planReport(difference)}`,
    )
    const isDry = flags['dryRun'] === true
    return await carryOut({
      kafka,
      difference,
      isDry,
      makeTopics: (topics) => createTopics(stack.kafka, topics),
      consent: () => consent(flags, ask),
      io,
    })
  } finally {
    kafka.close()
  }
}

interface CarryingOut {
  readonly kafka: TopicInspector
  readonly difference: ProvisionPlan
  readonly isDry: boolean
  makeTopics(topics: readonly ({ readonly name: string } & TopicConfig)[]): Promise<void>
  consent(): Promise<boolean>
  readonly io: Io
}

async function carryOut({ kafka, difference, isDry, makeTopics, consent, io }: CarryingOut): Promise<number> {
  const { create, change, partitions } = difference
  if (partitions.length > 0) {
    io.stderr.write('Nothing was changed: see what is marked ✗.\n')
    return EXIT.failure
  }
  if (create.length === 0 && change.length === 0) {
    io.stdout.write('Nothing to do.\n')
    return EXIT.ok
  }
  if (isDry) {
    io.stdout.write('A dry run: nothing was changed.\n')
    return EXIT.ok
  }
  if (!(await consent())) {
    io.stdout.write('Nothing was changed.\n')
    return EXIT.failure
  }
  if (create.length > 0) await makeTopics(create.map(({ name, config }) => ({ name, ...config })))
  await kafka.change(
    change.map(({ topic, settings }) => ({
      name: topic,
      set: Object.fromEntries(settings.map(({ setting, to }) => [setting, to])),
    })),
  )
  io.stdout.write(
    `Done: ${counted(create.length, 'topic')} created, ${counted(change.length, 'topic')} changed.\n`,
  )
  return EXIT.ok
}

async function consent(flags: Readonly<Record<string, unknown>>, ask: Ask | null): Promise<boolean> {
  if (flags['yes'] === true) return true
  if (ask !== null) return await ask('Do this? [y/N] ')
  throw new CliError(
    'BAD_USAGE',
    'nobody is there to agree to this plan: add --yes to carry it out, or --dry-run to see it only.',
  )
}

const MOST_COPIES = 32

function replicationOf(text: string | undefined): number | null {
  if (text === undefined) return null
  const copies = /^\d+$/.test(text) ? Number(text) : NaN
  if (copies >= 1 && copies <= MOST_COPIES) return copies
  throw new CliError(
    'BAD_USAGE',
    `--replication is "${text}": it must be a whole number from 1 to ${MOST_COPIES}.`,
  )
}
