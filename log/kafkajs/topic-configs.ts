import type { TopicConfig } from '../port.ts'

/** A changelog's head is not compacted before its segment is full or this old. */
const COMPACTED_SEGMENT_BYTES = 64 * 1024 * 1024
const COMPACTED_SEGMENT_MS = 60 * 60 * 1000
/** Half of it is how long a restore may take that begins at an old checkpoint (design §6, open 4). */
const TOMBSTONE_RETENTION_MS = 24 * 60 * 60 * 1000
const DIRTY_RATIO = '0.2'

/** What a topic of ours is created with, beyond the cluster's own defaults. */
export function configsOf(topic: TopicConfig, maxRecordBytes: number): Record<string, string> {
  const configs: Record<string, string> = {
    'cleanup.policy': topic.cleanup,
    'retention.ms': String(topic.retentionMs),
    'retention.bytes': '-1',
    // Event time is a field of the value; by an old one the broker would delete a record under its reader (design §7).
    'message.timestamp.type': 'LogAppendTime',
    'max.message.bytes': String(maxRecordBytes),
  }
  if (topic.minInsyncReplicas !== undefined) {
    configs['min.insync.replicas'] = String(topic.minInsyncReplicas)
  }
  if (topic.cleanup !== 'delete') {
    configs['segment.bytes'] = String(COMPACTED_SEGMENT_BYTES)
    configs['segment.ms'] = String(COMPACTED_SEGMENT_MS)
    configs['max.compaction.lag.ms'] = String(COMPACTED_SEGMENT_MS)
    configs['delete.retention.ms'] = String(TOMBSTONE_RETENTION_MS)
    configs['min.cleanable.dirty.ratio'] = DIRTY_RATIO
  }
  return configs
}

/** Kafka keeps the policies in the order in which somebody gave them. */
export function cleanupOf(policy: string): TopicConfig['cleanup'] {
  const policies = policy.split(',').map((part) => part.trim())
  if (!policies.includes('compact')) return 'delete'
  return policies.includes('delete') ? 'compact,delete' : 'compact'
}
