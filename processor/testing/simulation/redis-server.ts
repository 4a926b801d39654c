import {
  sameCheckpoint,
  sameLog,
  type Checkpoint,
  type StateMeta,
  type StateOwner,
} from '../../state/port.ts'

/** What a caller proves with every request (design §6): whose state it works on, and how far it has seen it. */
export interface Proof {
  readonly owner: StateOwner
  readonly incarnation: string
  /** What was seen last; a write has to meet it exactly. */
  readonly checkpoint: Checkpoint
}

export interface ApplyChunk {
  readonly end: Checkpoint
  /** From 1. */
  readonly part: number
  readonly isLast: boolean
  readonly rows: readonly { readonly key: string; readonly value: Buffer | null }[]
  readonly dropPrefixes: readonly string[]
  readonly taskRecord: Buffer | null
  readonly timeMs: number
}

/** Where a scan goes on; it means something to the run of the server that gave it only. */
export interface ScanCursor {
  readonly runId: number
  readonly after: string
}

export interface ScanPiece {
  readonly entries: readonly (readonly [string, Buffer])[]
  readonly cursor: ScanCursor | null
}

interface TaskKeys {
  meta: StateMeta
  taskRecord: Buffer | null
  /** The chunk of a write that was applied last, where it was not the last one. */
  part: string | null
  readonly incarnations: Map<string, Map<string, Buffer>>
}

export type NotOurs = 'NOT_OURS'

/**
 * A Redis server that holds tasks' states: one method an atomic operation, the same ones as the Lua
 * scripts in processor/state/redis, and what can happen to a server: flushed, an older copy, away.
 */
export class SimulatedRedis {
  /** Whose requests are not answered. */
  away: 'nobody' | 'odd partitions' | 'everybody' = 'nobody'
  /** Told after every change of a task's meta. */
  onMeta: (task: string, meta: StateMeta, before: StateMeta | null) => void = () => undefined
  #runId = 1
  #tasks = new Map<string, TaskKeys>()
  readonly #snapshots: Map<string, TaskKeys>[] = []

  /** @returns 'NOT_OURS' where a later token of the same log holds it; null where nothing, or another log's, is there */
  takeOver(
    task: string,
    owner: StateOwner,
  ): { meta: StateMeta; taskRecord: Buffer | null; others: string[] } | NotOurs | null {
    const keys = this.#tasks.get(task)
    if (keys === undefined || !sameLog(keys.meta, owner)) return null
    const before = keys.meta
    if (before.token > owner.token) return 'NOT_OURS'
    this.#setMeta(task, keys, { ...before, token: owner.token })
    keys.part = null
    return { meta: before, taskRecord: keys.taskRecord, others: othersOf(keys) }
  }

  newIncarnation(
    task: string,
    owner: StateOwner,
    timeMs: number,
  ): { meta: StateMeta; others: string[] } | NotOurs {
    const incarnation = `${owner.topicId}/${owner.token}`
    const meta = { ...owner, incarnation, checkpoint: { changelog: 0, windows: 0 }, timeMs }
    let keys = this.#tasks.get(task)
    if (keys === undefined) {
      keys = { meta, taskRecord: null, part: null, incarnations: new Map() }
      this.#tasks.set(task, keys)
      this.onMeta(task, meta, null)
    } else {
      if (sameLog(keys.meta, owner) && keys.meta.token > owner.token) return 'NOT_OURS'
      this.#setMeta(task, keys, meta)
    }
    keys.incarnations.set(incarnation, new Map())
    keys.taskRecord = null
    keys.part = null
    return { meta, others: othersOf(keys) }
  }

  readMany(task: string, proof: Proof, names: readonly string[]): (Buffer | null)[] | NotOurs {
    const entries = this.#proven(task, proof)
    return entries === null ? 'NOT_OURS' : names.map((name) => entries.get(name) ?? null)
  }

  /** A piece of what begins with `prefix`. */
  scan(
    task: string,
    proof: Proof,
    prefix: string,
    cursor: ScanCursor | null,
    count: number,
  ): ScanPiece | 'OTHER_SERVER' | NotOurs {
    const entries = this.#proven(task, proof)
    if (entries === null) return 'NOT_OURS'
    if (cursor !== null && cursor.runId !== this.#runId) return 'OTHER_SERVER'
    const names = [...entries.keys()].filter((name) => name.startsWith(prefix)).sort()
    const left = cursor === null ? names : names.filter((name) => name > cursor.after)
    const found = left.slice(0, count)
    return {
      entries: found.map((name) => [name, entries.get(name)!]),
      cursor: left.length > count ? { runId: this.#runId, after: found.at(-1)! } : null,
    }
  }

  /** One chunk of a write; the checkpoint moves with the last one. */
  apply(task: string, proof: Proof, chunk: ApplyChunk): 'APPLIED' | 'DONE_BEFORE' | NotOurs {
    const keys = this.#ownKeys(task, proof)
    if (keys === null) return 'NOT_OURS'
    const { meta } = keys
    if (sameCheckpoint(meta.checkpoint, chunk.end)) return 'DONE_BEFORE'
    if (!sameCheckpoint(meta.checkpoint, proof.checkpoint)) return 'NOT_OURS'
    const write = `${chunk.end.changelog}/${chunk.end.windows}`
    const isInOrder =
      chunk.part === 1 || keys.part === `${write}:${chunk.part - 1}` || keys.part === `${write}:${chunk.part}`
    if (!isInOrder) return 'NOT_OURS'
    const entries = entriesOf(keys)
    for (const { key, value } of chunk.rows) {
      if (value === null) entries.delete(key)
      else entries.set(key, value)
    }
    for (const prefix of chunk.dropPrefixes) {
      for (const key of [...entries.keys()]) if (key.startsWith(prefix)) entries.delete(key)
    }
    keys.part = chunk.isLast ? null : `${write}:${chunk.part}`
    if (!chunk.isLast) return 'APPLIED'
    if (chunk.taskRecord !== null) keys.taskRecord = chunk.taskRecord
    this.#setMeta(task, keys, { ...meta, checkpoint: chunk.end, timeMs: chunk.timeMs })
    return 'APPLIED'
  }

  /** Only while the meta names another. */
  unlink(task: string, incarnation: string): void {
    const keys = this.#tasks.get(task)
    if (keys !== undefined && keys.meta.incarnation !== incarnation) keys.incarnations.delete(incarnation)
  }

  /** What there is of a task, for who checks the whole. */
  inspect(
    task: string,
  ): { meta: StateMeta; taskRecord: Buffer | null; entries: ReadonlyMap<string, Buffer> } | null {
    const keys = this.#tasks.get(task)
    if (keys === undefined) return null
    const { meta, taskRecord } = keys
    return { meta, taskRecord, entries: entriesOf(keys) }
  }

  flush(): void {
    this.#tasks.clear()
  }

  /** As where a part of a cluster's servers is away: each task has its slot. */
  isAwayFor(task: string): boolean {
    if (this.away !== 'odd partitions') return this.away === 'everybody'
    return Number(task.slice(task.lastIndexOf('_') + 1)) % 2 === 1
  }

  /** A replica gets a copy, and lags behind from now on. */
  snapshot(): void {
    this.#snapshots.push(copyOf(this.#tasks))
  }

  /** The replica with the copy number `index` takes over. */
  failOver(index: number): void {
    const snapshot = this.#snapshots[index]
    this.#runId++
    this.#tasks = copyOf(snapshot ?? new Map<string, TaskKeys>())
  }

  #setMeta(task: string, keys: TaskKeys, meta: StateMeta): void {
    const before = keys.meta
    keys.meta = meta
    this.onMeta(task, meta, before)
  }

  #ownKeys(task: string, { owner, incarnation }: Proof): TaskKeys | null {
    const keys = this.#tasks.get(task)
    if (keys === undefined) return null
    const { meta } = keys
    const isOurs = sameLog(meta, owner) && meta.token === owner.token && meta.incarnation === incarnation
    return isOurs ? keys : null
  }

  #proven(task: string, proof: Proof): ReadonlyMap<string, Buffer> | null {
    const keys = this.#ownKeys(task, proof)
    if (keys === null) return null
    const { checkpoint } = keys.meta
    const hasGoneBack =
      checkpoint.changelog < proof.checkpoint.changelog || checkpoint.windows < proof.checkpoint.windows
    return hasGoneBack ? null : entriesOf(keys)
  }
}

/** As with a hash that is gone: it is an empty one. */
function entriesOf({ incarnations, meta }: TaskKeys): Map<string, Buffer> {
  let entries = incarnations.get(meta.incarnation)
  if (entries === undefined) incarnations.set(meta.incarnation, (entries = new Map<string, Buffer>()))
  return entries
}

function othersOf({ incarnations, meta }: TaskKeys): string[] {
  return [...incarnations.keys()].filter((incarnation) => incarnation !== meta.incarnation)
}

function copyOf(tasks: ReadonlyMap<string, TaskKeys>): Map<string, TaskKeys> {
  return new Map(
    [...tasks].map(([task, keys]) => [
      task,
      { ...keys, incarnations: new Map([...keys.incarnations].map(([name, all]) => [name, new Map(all)])) },
    ]),
  )
}
