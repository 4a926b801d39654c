import { SEGMENT_BYTES } from '../keys.ts'

/**
 * Every key in Redis is built here. All keys of a task share one hash slot (the part in braces), so that one
 * script may touch them together, on a cluster too:
 *
 *     <prefix>{<application>.<task>}:meta                          hash: whose the state is, and up to where
 *     <prefix>{<application>.<task>}:incarnations                  set: the copies that have keys
 *     <prefix>{<application>.<task>}:<incarnation>:segments        set: the keys of the copy's segments
 *     <prefix>{<application>.<task>}:<incarnation>:<store>:<time>  hash: a store's segment (bytes in hex, as in the
 *                                                                  changelog's key); field: the rest of the key
 */
export class TaskKeys {
  readonly meta: Buffer
  readonly incarnations: Buffer
  readonly #prefix: string

  /** @throws RangeError where a part holds a brace, which would move the task to another slot */
  constructor(keyPrefix: string, application: string, task: string) {
    for (const part of [keyPrefix, application, task]) {
      if (/[{}]/.test(part)) {
        throw new RangeError(
          `'${part}' is part of keys in Redis and may hold no braces: choose another name.`,
        )
      }
    }
    this.#prefix = `${keyPrefix}{${application}.${task}}:`
    this.meta = Buffer.from(`${this.#prefix}meta`)
    this.incarnations = Buffer.from(`${this.#prefix}incarnations`)
  }

  copy(incarnation: string): CopyKeys {
    return new CopyKeys(`${this.#prefix}${incarnation}:`)
  }
}

/** The keys of one incarnation. */
export class CopyKeys {
  readonly segments: Buffer
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
    this.segments = Buffer.from(`${prefix}segments`)
  }

  /** The hash of the segment whose keys begin with `segment`. */
  segment(segment: Buffer): Buffer {
    const hex = segment.toString('hex')
    return Buffer.from(`${this.#prefix}${hex.slice(0, 4)}:${hex.slice(4)}`)
  }
}

/** Where a record key is cut into segment and field; a shorter key is all segment. */
export function segmentEnd(start: number, end: number): number {
  return Math.min(start + SEGMENT_BYTES, end)
}

/** Keys that no task has: what `probe.lua` writes to. */
export function probeKeys(keyPrefix: string, application: string): [Buffer, Buffer] {
  const prefix = `${keyPrefix}{${application}.probe}:`
  return [Buffer.from(`${prefix}hash`), Buffer.from(`${prefix}set`)]
}
