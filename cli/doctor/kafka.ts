import type { Clock } from '../../config/clock.ts'
import { counted } from '../output/format.ts'
import { failure, ok, skipped, warning, type Check, type Finding } from './findings.ts'

export type Operation = 'read' | 'write' | 'delete' | 'describe'

/** What is asked of a cluster; log/kafkajs/probe.ts answers it. */
export interface KafkaUnderTest {
  readonly cluster: {
    readonly clusterId: string | null
    readonly brokers: readonly { readonly nodeId: number }[]
  }
  operations(topics: readonly string[]): Promise<{
    readonly cluster: ReadonlySet<string>
    readonly topics: readonly {
      readonly name: string
      readonly errorCode: number
      readonly operations: ReadonlySet<string>
    }[]
  }>
  configs(
    resources: readonly {
      readonly type: 'broker'
      readonly name: string
      readonly names: readonly string[]
    }[],
  ): Promise<
    readonly {
      readonly errorCode: number
      readonly entries: readonly { readonly name: string; readonly value: string | null }[]
    }[]
  >
  tryTransaction(
    names: { readonly transactionalId: string; readonly groupId: string },
    nowMs: () => number,
  ): Promise<{
    readonly refused: 'transactional id' | 'group' | null
    readonly errorCode: number
    readonly clock: { readonly beforeMs: number; readonly brokerMs: number; readonly afterMs: number } | null
  }>
  close(): void
}

/** A topic that a pipeline needs, and what it does with it. */
export interface NeededTopic {
  readonly name: string
  readonly operations: readonly Operation[]
}

export interface KafkaCheckOptions {
  /** For people, and for commands that they copy. */
  readonly brokers: string
  /** Who logs in; null: nobody. */
  readonly user: string | null
  connect(): Promise<KafkaUnderTest>
  /** Names groups and transactional ids; null: no pipeline was named. */
  readonly pipeline: { readonly application: string; readonly topics: readonly NeededTopic[] } | null
  /** What the topics' settings are found to be, where a pipeline is named. */
  topicSettings(): Promise<readonly Finding[]>
  readonly clock: Clock
}

const NAME = 'kafka'
const SWEEP = 'transaction.abort.timed.out.transaction.cleanup.interval.ms'
const BEST_SWEEP_MS = 1_000
const MOST_SKEW_MS = 1_000
const UNKNOWN_TOPIC = 3

/** One clear finding where the cluster cannot be used; else one of each thing that matters of it. */
export function kafkaCheck(options: KafkaCheckOptions): Check {
  return {
    name: NAME,
    run: async () => {
      let kafka: KafkaUnderTest
      try {
        kafka = await options.connect()
      } catch (error) {
        const { message, code } = error as Error & { code?: string }
        return [failure(NAME, message, MENDS[code ?? ''] ?? 'Start it, or mend KAFKA_BROKERS.')]
      }
      try {
        const parts = await Promise.all([
          guarded(`${NAME} transactions`, () => transactions(kafka, options)),
          guarded(`${NAME} sweep`, () => sweep(kafka, options)),
          guarded(`${NAME} rights`, () => rights(kafka, options)),
          guarded(`${NAME} topics`, () => topicSettings(options)),
        ])
        return [reached(kafka, options), ...parts.flat()]
      } finally {
        kafka.close()
      }
    },
  }
}

const MENDS: Readonly<Record<string, string>> = {
  UNAUTHORIZED: 'Mend KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, or KAFKA_TLS_….',
  UNSUPPORTED_VERSION: 'Upgrade the brokers.',
}

/** What one part meets does not take the others' answers away. */
async function guarded(name: string, part: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await part()
  } catch (error) {
    return [failure(name, (error as Error).message, "Look into the brokers' logs, and ask again.")]
  }
}

async function topicSettings(options: KafkaCheckOptions): Promise<readonly Finding[]> {
  try {
    return await options.topicSettings()
  } catch (error) {
    if ((error as { code?: string }).code !== 'UNAUTHORIZED') throw error
    return [skipped(`${NAME} topics`, 'their settings may not be looked at: see the rights')]
  }
}

function reached({ cluster }: KafkaUnderTest, { brokers }: KafkaCheckOptions): Finding {
  if (cluster.brokers.length === 1) {
    return warning(
      NAME,
      `${brokers}: cluster ${cluster.clusterId ?? ''} has one broker, so that a lost disk is lost data`,
      'Run three brokers where the data matters; for one machine it is as it should be.',
    )
  }
  return ok(
    NAME,
    `${brokers}: cluster ${cluster.clusterId ?? ''}, ${counted(cluster.brokers.length, 'broker')}`,
  )
}

/** A commit's whole way but the records: who may use the ids, and what the coordinator's clock says. */
async function transactions(kafka: KafkaUnderTest, options: KafkaCheckOptions): Promise<Finding[]> {
  const name = `${NAME} transactions`
  const application = options.pipeline?.application ?? 'millrace'
  const names = { transactionalId: `${application}-process-doctor`, groupId: `${application}.process` }
  const { refused, errorCode, clock } = await kafka.tryTransaction(names, () => options.clock.nowMs())
  if (refused === 'transactional id') {
    const what = `transactional ids that begin with '${application}-' may not be used`
    const operations = '--operation Write --operation Describe'
    return [
      failure(
        name,
        what,
        acl(options, operations, `--transactional-id '${application}-' --resource-pattern-type prefixed`),
      ),
    ]
  }
  if (refused === 'group') {
    const what = `groups that begin with '${application}.' may not be used`
    return [
      failure(
        name,
        what,
        acl(options, '--operation Read', `--group '${application}.' --resource-pattern-type prefixed`),
      ),
    ]
  }
  if (errorCode !== 0) {
    const what = `a transaction could not be begun and aborted (Kafka's error ${errorCode})`
    return [
      failure(
        name,
        what,
        'See whether __transaction_state and __consumer_offsets have leaders (kafka-topics.sh --describe).',
      ),
    ]
  }
  return [ok(name, `one was begun and aborted as ${names.transactionalId}`), skew(clock)]
}

type ClockReading = NonNullable<Awaited<ReturnType<KafkaUnderTest['tryTransaction']>>['clock']>

/** Leases of heartbeats, idleness and alerts on stalled sources compare the broker's times with ours. */
function skew(clock: ClockReading | null): Finding {
  const name = `${NAME} clock`
  if (clock === null) return skipped(name, 'the broker does not say when it began a transaction')
  const { beforeMs, brokerMs, afterMs } = clock
  const aheadMs = brokerMs > afterMs ? brokerMs - afterMs : brokerMs < beforeMs ? brokerMs - beforeMs : 0
  const what =
    aheadMs === 0
      ? `the broker's and ours agree to within ${afterMs - beforeMs} ms`
      : `the broker's is ${Math.abs(aheadMs)} ms ${aheadMs > 0 ? 'ahead of' : 'behind'} ours`
  if (Math.abs(aheadMs) <= MOST_SKEW_MS) return ok(name, what)
  return warning(name, what, 'Set both by NTP (timedatectl status; chronyc tracking).')
}

/** What a dead process left open holds its readers up until the broker sweeps. */
async function sweep(kafka: KafkaUnderTest, { brokers }: KafkaCheckOptions): Promise<Finding[]> {
  const name = `${NAME} sweep`
  const [described] = await kafka.configs([{ type: 'broker', name: '', names: [SWEEP] }])
  const value = described?.entries.find((entry) => entry.name === SWEEP)?.value
  if (described === undefined || described.errorCode !== 0 || value === undefined || value === null) {
    return [
      skipped(
        name,
        `the brokers do not tell us their settings (it needs DescribeConfigs on the cluster): ${SWEEP} should be ${BEST_SWEEP_MS}`,
      ),
    ]
  }
  const ms = Number(value)
  const what = `transactions of dead processes are swept every ${ms / 1000} s`
  if (ms <= BEST_SWEEP_MS) return [ok(name, what)]
  return [
    warning(
      name,
      `${what}: so long the tasks of a process that was killed may wait`,
      `Put ${SWEEP}=${BEST_SWEEP_MS} into every broker's server.properties and restart them one by one (${brokers}).`,
    ),
  ]
}

async function rights(kafka: KafkaUnderTest, options: KafkaCheckOptions): Promise<Finding[]> {
  const name = `${NAME} rights`
  if (options.pipeline === null) {
    return [
      skipped(name, 'name a pipeline to have the rights on its topics looked at: millrace doctor <pipeline>'),
    ]
  }
  const { application, topics } = options.pipeline
  const granted = await kafka.operations(topics.map((topic) => topic.name))
  const lacking = topics.flatMap(({ name: topic, operations }) => {
    const found = granted.topics.find((candidate) => candidate.name === topic)
    // What is not there yet will be ours to make.
    if (found === undefined || found.errorCode === UNKNOWN_TOPIC) return []
    const denied = operations.filter((operation) => !found.operations.has(operation))
    return denied.length === 0 ? [] : [{ topic, denied }]
  })
  if (lacking.length === 0) return [ok(name, `all that are needed on ${counted(topics.length, 'topic')}`)]
  // One command for all that are named after the application, one for each of the others.
  const prefix = `${application}.`
  const own = lacking.filter(({ topic }) => topic.startsWith(prefix))
  const others = lacking.filter(({ topic }) => !topic.startsWith(prefix))
  return [
    ...(own.length === 0
      ? []
      : [denial(own, `--topic '${prefix}' --resource-pattern-type prefixed`, options)]),
    ...others.map((each) => denial([each], `--topic '${each.topic}'`, options)),
  ]
}

function denial(
  lacking: readonly { readonly topic: string; readonly denied: readonly Operation[] }[],
  resource: string,
  options: KafkaCheckOptions,
): Finding {
  const denied = [...new Set(lacking.flatMap((each) => each.denied))]
  const [first] = lacking
  const more = lacking.length === 1 ? '' : ` and ${counted(lacking.length - 1, 'other topic')}`
  const operations = denied.map((each) => `--operation ${each[0]!.toUpperCase()}${each.slice(1)}`).join(' ')
  return failure(
    `${NAME} rights`,
    `${denied.join(', ')} not allowed on ${first!.topic}${more}`,
    acl(options, operations, resource),
  )
}

/** The command that grants it. */
function acl({ brokers, user }: KafkaCheckOptions, operations: string, resource: string): string {
  return (
    `kafka-acls.sh --bootstrap-server ${brokers} --add --allow-principal 'User:${user ?? 'ANONYMOUS'}' ` +
    `${operations} ${resource}`
  )
}
