import { join, resolve } from 'node:path'
import { systemClock } from '../../config/clock.ts'
import { clockCheck, dataCheck } from '../doctor/data.ts'
import { runChecks, type Check, type Finding } from '../doctor/findings.ts'
import { modulesCheck, scriptsCheck } from '../doctor/installation.ts'
import { kafkaCheck } from '../doctor/kafka.ts'
import { directoryCheck, nodeCheck, portCheck } from '../doctor/machine.ts'
import { neededTopics } from '../doctor/needed-topics.ts'
import { redisCheck } from '../doctor/redis.ts'
import { registryCheck } from '../doctor/registry.ts'
import { jsonReport, textReport, worstOf } from '../doctor/report.ts'
import { topicFindings } from '../doctor/topics.ts'
import { EXIT } from '../errors.ts'
import type { Io } from '../io.ts'
import { loadPipeline, type LoadedPipeline } from '../pipelines/load.ts'
import { lookAtTopics } from '../provision/look.ts'
import { resolveSettings, type Settings, type StackSettings } from '../settings/settings.ts'
import { lookAtRedis, inspectTopics, probeKafka } from '../wire/servers.ts'

export interface DoctorArguments {
  /** null: the machine and the servers, without any pipeline's topics and rights. */
  readonly pipeline: string | null
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

/** A whole check. */
const TIMEOUT_MS = 15_000
/** One answer of a server. */
const ANSWER_TIMEOUT_MS = 3_000

/**
 * Looks at everything that a run needs, and says of each thing whether it is well and how to mend it. Writes
 * nothing.
 * @returns the exit code: 1 where something is wrong, 0 with nothing but warnings
 */
export async function doctorCommand({ pipeline: name, flags, io }: DoctorArguments): Promise<number> {
  const settings = resolveSettings({ flags, env: io.env, cwd: io.cwd })
  const loaded = name === null ? null : await loadPipeline(name, io.cwd)
  const { stack, dataDir, warehouse, metricsPort, metricsHost } = settings
  const checks: Check[] = [
    nodeCheck(process.versions.node),
    modulesCheck(),
    scriptsCheck(join(import.meta.dirname, '..', '..')),
  ]
  if (stack === null) {
    const path = resolve(io.cwd, dataDir)
    checks.push(directoryCheck('data directory', path), dataCheck(path), clockCheck(path, systemClock))
  } else
    checks.push(
      directoryCheck('warehouse', resolve(io.cwd, warehouse)),
      ...stackChecks(stack, settings, loaded, name),
    )
  if (metricsPort !== null && metricsPort !== 0)
    checks.push(portCheck('metrics port', metricsHost, metricsPort))
  const findings = await runChecks(checks, TIMEOUT_MS)
  io.stdout.write(flags['json'] === true ? jsonReport(findings) : textReport(findings))
  return worstOf(findings) === 'error' ? EXIT.failure : EXIT.ok
}

function stackChecks(
  { kafka, redis, registry }: StackSettings,
  { partitions }: Settings,
  loaded: LoadedPipeline | null,
  name: string | null,
): Check[] {
  const application = loaded?.pipeline.name ?? 'millrace'
  const hasRegistry = registry !== null
  const topicSettings = async (): Promise<readonly Finding[]> => {
    if (loaded === null || name === null) return []
    const topics = await inspectTopics(kafka)
    try {
      const { difference } = await lookAtTopics(topics, {
        pipeline: loaded.pipeline,
        partitions,
        replicationFactor: null,
        hasRegistry,
      })
      return topicFindings(difference, name)
    } finally {
      topics.close()
    }
  }
  return [
    kafkaCheck({
      brokers: kafka.brokers.join(','),
      user: kafka.sasl?.username ?? null,
      connect: () => probeKafka(kafka),
      pipeline: loaded === null ? null : { application, topics: neededTopics(loaded.pipeline, hasRegistry) },
      topicSettings,
      clock: systemClock,
    }),
    redisCheck(
      redis === null ? null : () => lookAtRedis(redis, { application, timeoutMs: ANSWER_TIMEOUT_MS }),
    ),
    registryCheck(registry, ANSWER_TIMEOUT_MS),
  ]
}
