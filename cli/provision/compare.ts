import type { RequiredTopic } from './required-topics.ts'

/** A topic as it is. */
export interface FoundTopic {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  /** By Kafka's names. `isOwn`: somebody set it for this topic; else it is the brokers' default. */
  readonly settings: ReadonlyMap<string, { readonly value: string | null; readonly isOwn: boolean }>
}

/** A topic as it has to be, in Kafka's words. */
export interface WantedTopic extends RequiredTopic {
  readonly settings: Readonly<Record<string, string>>
}

export interface SettingChange {
  readonly setting: string
  readonly from: string
  readonly to: string
}

export interface Mismatch {
  readonly topic: string
  readonly found: number
  readonly wanted: number
}

export interface ProvisionPlan {
  readonly create: readonly WantedTopic[]
  readonly change: readonly { readonly topic: string; readonly settings: readonly SettingChange[] }[]
  /** Cannot be changed under a topic that is in use. */
  readonly partitions: readonly Mismatch[]
  /** Too few, which is a risk; other tools add them. */
  readonly copies: readonly Mismatch[]
  /** What differs, and is left as somebody chose it, in words. */
  readonly kept: readonly string[]
  /** Topics that are as they have to be. */
  readonly fitting: number
}

/** What there is to do so that the log has the topics as they are wanted. Pure; nothing is deleted or shrunk. */
export function compareTopics(
  wanted: readonly WantedTopic[],
  found: readonly (FoundTopic | null)[],
): ProvisionPlan {
  const create: WantedTopic[] = []
  const change: { topic: string; settings: SettingChange[] }[] = []
  const partitions: Mismatch[] = []
  const copies: Mismatch[] = []
  const kept: string[] = []
  let fitting = 0
  for (const [i, topic] of wanted.entries()) {
    const existing = found[i] ?? null
    if (existing === null) {
      create.push(topic)
      continue
    }
    const { name, config } = topic
    const isSpreadOtherwise = existing.partitions !== config.partitions
    if (isSpreadOtherwise) {
      partitions.push({ topic: name, found: existing.partitions, wanted: config.partitions })
    }
    const wantedCopies = config.replicationFactor ?? existing.replicationFactor
    if (existing.replicationFactor < wantedCopies) {
      copies.push({ topic: name, found: existing.replicationFactor, wanted: wantedCopies })
    }
    const settings = settingChanges(topic, existing)
    kept.push(...settings.kept)
    if (settings.changes.length > 0) change.push({ topic: name, settings: settings.changes })
    else if (!isSpreadOtherwise) fitting++
  }
  return { create, change, partitions, copies, kept, fitting }
}

function settingChanges(
  { name, settings, isInternal, config }: WantedTopic,
  existing: FoundTopic,
): { changes: SettingChange[]; kept: string[] } {
  const changes: SettingChange[] = []
  const kept: string[] = []
  for (const [setting, to] of Object.entries(settings)) {
    const { value, isOwn } = existing.settings.get(setting) ?? { value: null, isOwn: false }
    const from = value ?? ''
    if (sameSetting(from, to)) continue
    if (setting === MAX_MESSAGE_BYTES && Number(from) > Number(to)) continue
    // As many in sync as there are copies would stop every write when one broker is away.
    if (setting === MIN_IN_SYNC && existing.replicationFactor < (config.replicationFactor ?? 1)) continue
    const isEssential = ESSENTIAL.has(setting) || (isInternal && RETENTION.has(setting))
    // Whoever set it on this very topic had a reason, and nothing that is promised depends on it.
    if (isOwn && !isEssential) kept.push(`${name}: ${setting} is ${from}, as somebody set it (else ${to}).`)
    else changes.push({ setting, from, to })
  }
  return { changes, kept }
}

const MIN_IN_SYNC = 'min.insync.replicas'
const MAX_MESSAGE_BYTES = 'max.message.bytes'
/** With another value records are lost, or taken for what they are not. */
export const ESSENTIAL: ReadonlySet<string> = new Set([
  'cleanup.policy',
  'message.timestamp.type',
  MIN_IN_SYNC,
  MAX_MESSAGE_BYTES,
])
export const RETENTION: ReadonlySet<string> = new Set(['retention.ms', 'retention.bytes'])

/** Kafka gives lists in the order in which they were set. */
function sameSetting(a: string, b: string): boolean {
  const normal = (value: string): string =>
    value
      .split(',')
      .map((part) => part.trim())
      .sort()
      .join()
  return normal(a) === normal(b)
}
