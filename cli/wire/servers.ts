/** What looks at servers without running on them: for `doctor` and `provision`. */
import { KafkaProbe, type ProbeOptions } from '../../log/kafkajs/probe.ts'
import { openKafkaLog } from '../../log/kafkajs/kafka-log.ts'
import { configsOf } from '../../log/kafkajs/topic-configs.ts'
import { TopicInspector } from '../../log/kafkajs/topic-inspector.ts'
import type { TopicConfig } from '../../log/port.ts'
import { checkRedis, type RedisFinding } from '../../processor/state/redis/doctor.ts'
import type { KafkaSettings, RedisSettings } from '../settings/settings.ts'
import { connectionTo, tlsOf } from './stack-stores.ts'

export type { TopicInspector } from '../../log/kafkajs/topic-inspector.ts'

/** The log's own default for the largest record that its topics take. */
const MAX_RECORD_BYTES = 16 * 2 ** 20

/** @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION */
export function probeKafka(kafka: KafkaSettings): Promise<KafkaProbe> {
  return KafkaProbe.connect(optionsOf(kafka))
}

/** @throws LogError UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_VERSION */
export function inspectTopics(kafka: KafkaSettings): Promise<TopicInspector> {
  return TopicInspector.connect(optionsOf(kafka))
}

/** What Kafka calls the settings with which a topic is made. */
export function topicSettings(config: TopicConfig): Record<string, string> {
  return configsOf(config, MAX_RECORD_BYTES)
}

/** Makes those that are missing, and waits until they can be used. @throws LogError */
export async function createTopics(
  kafka: KafkaSettings,
  topics: readonly ({ readonly name: string } & TopicConfig)[],
): Promise<void> {
  const log = await openKafkaLog({ ...connectionTo(kafka), clientId: 'millrace-provision' })
  try {
    await log.admin.createTopics(topics)
  } finally {
    await log.close()
  }
}

export function lookAtRedis(
  { url, tls, keyPrefix }: RedisSettings,
  options: { readonly application: string; readonly timeoutMs: number },
): Promise<RedisFinding[]> {
  return checkRedis({ url, keyPrefix, ...(tls && { tls: tlsOf(tls) }), ...options })
}

function optionsOf({ brokers, sasl, tls }: KafkaSettings): ProbeOptions {
  return { brokers, sasl, ssl: tls && tlsOf(tls) }
}
