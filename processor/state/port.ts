/**
 * Where tasks keep state between commits. It is a copy of the changelogs (the truth) up to its
 * checkpoint, and may be lost or go back at any moment: every answer proves whose it is.
 * Keys and values are the changelog's own bytes, encoded once.
 */

/** Next offset to apply of each changelog. */
export interface Checkpoint {
  readonly changelog: number
  readonly windows: number
}

/** Which log the state was built from, and who may write it. */
export interface StateOwner {
  readonly clusterId: string
  /** The ids of both changelog topics: another id is another log. */
  readonly topicId: string
  /** The offset of the task's opened record: it only grows (design §6). */
  readonly token: number
}

export interface StateMeta extends StateOwner {
  /** `<topicId>/<token>` of the opening that began this copy. */
  readonly incarnation: string
  readonly checkpoint: Checkpoint
  readonly timeMs: number
}

/** Records over one buffer: a RecordBatch or a BatchBuilder. A null value deletes. */
export interface StateRecords {
  readonly buffer: Buffer
  readonly positions: Int32Array
  readonly count: number
}

export interface StateWrite {
  /** Applied in order. Only the first `count` rows of each. */
  readonly records: readonly StateRecords[]
  /** Segments whose rows are left out, by the first bytes of their keys (keys.ts); asked once for rows in a row. */
  readonly skip?: (segment: Buffer) => boolean
  /** Key prefixes, each of one whole segment (keys.ts), whose entries go away whole. */
  readonly dropPrefixes: readonly Buffer[]
  readonly taskRecord: Buffer | null
  readonly base: Checkpoint
  readonly end: Checkpoint
  readonly timeMs: number
}

export interface StateEntry {
  readonly key: Buffer
  readonly value: Buffer
}

/** The state of one task, as taken over by one owner. */
export interface TaskState {
  /** What was there before it was taken over, under the token of then; null: nothing, or of another log. */
  readonly found: { readonly meta: StateMeta; readonly taskRecord: Buffer | null } | null
  /** Starts an empty copy under a new name; the old one goes away. @throws StateError STATE_LOST */
  newIncarnation(timeMs: number): Promise<StateMeta>
  /**
   * Values in the keys' order, null where there is none; views that may share one buffer.
   * @throws StateError STATE_LOST
   */
  readMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]>
  /**
   * All entries whose key begins with `prefix` (a segment, or more), in chunks, in no order. One that is
   * written or deleted meanwhile may come twice, or not.
   * @throws StateError STATE_LOST
   */
  scan(prefix: Buffer): AsyncIterable<readonly StateEntry[]>
  /**
   * Applies what a commit wrote, if the checkpoint is still its base; if it is its end already, that was done before.
   * @throws StateError STATE_LOST when token, incarnation or checkpoint are not ours
   */
  apply(write: StateWrite): Promise<void>
}

export interface StateBackend {
  /**
   * Compare-and-set on the task's meta: a lower token gives way, another log's meta is replaced.
   * @throws StateError STATE_LOST when a higher token of the same log is there
   */
  takeOver(task: string, owner: StateOwner): Promise<TaskState>
  close(): Promise<void>
}

/** The state is not ours (any more), or went back: open the task again. */
export class StateError extends Error {
  readonly code: 'STATE_LOST' | 'STATE_UNAVAILABLE'

  constructor(code: StateError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StateError'
    this.code = code
  }
}

export function sameLog(a: StateOwner, b: StateOwner): boolean {
  return a.clusterId === b.clusterId && a.topicId === b.topicId
}

/** @throws StateError STATE_LOST where a later owner of the same log has the state: only it may begin a copy */
export function assertNotOutlived(task: string, meta: StateMeta | undefined, owner: StateOwner): void {
  if (meta === undefined || !sameLog(meta, owner) || meta.token <= owner.token) return
  throw new StateError(
    'STATE_LOST',
    `${task}: its state belongs to token ${meta.token}, ours is ${owner.token}`,
  )
}

/** @throws StateError STATE_LOST unless the state as it stands is this owner's, in the copy that it works on */
export function assertOurs(
  task: string,
  meta: StateMeta | undefined,
  owner: StateOwner,
  incarnation: string | null,
): void {
  const ours =
    meta !== undefined &&
    sameLog(meta, owner) &&
    meta.token === owner.token &&
    meta.incarnation === incarnation
  if (!ours) throw new StateError('STATE_LOST', `${task}: its state is gone or belongs to another owner`)
}

export function sameCheckpoint(a: Checkpoint, b: Checkpoint): boolean {
  return a.changelog === b.changelog && a.windows === b.windows
}
