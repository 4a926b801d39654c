import { createHash } from 'node:crypto'

/** More partitions than a topic can have. */
const PARTITIONS = 2 ** 20

/**
 * A number for a partition of a source, or of an aggregate's results: the same in every run, whatever else the
 * pipeline has. It decides which of two records stands first that have the same event time.
 */
export function originOf(node: string, partition: number): number {
  return originId(node) * PARTITIONS + partition
}

/** 32 bits of the name's hash. */
export function originId(node: string): number {
  return createHash('sha256').update(node).digest().readUInt32BE(0)
}
