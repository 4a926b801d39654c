import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FAMILIES, scenarioOf, type Family } from '../../processor/testing/simulation/scenario.ts'
import { simulate } from '../../processor/testing/simulation/simulation.ts'

/** A deliberate fault: these texts, each of which stands exactly once in its file, become those. */
export interface Mutation {
  readonly name: string
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
  /** A part of the name of the family of seeds that leans to what it needs; none: all. */
  readonly family?: string
}

const COMMIT = 'processor/runtime/commit.ts'
const OPEN = 'processor/runtime/open.ts'
const READ_UNTIL = 'log/read-until.ts'
const RESTORE = 'processor/runtime/restore.ts'
const WORKER = 'processor/runtime/worker.ts'
const TASK_SET = 'processor/runtime/task-set.ts'
const WINDOW = 'processor/runtime/operators/window.ts'
const STALLS = 'processor/runtime/operators/stalls.ts'
const WINDOW_ENTRIES = 'processor/state/window-entries.ts'
const SEEN_IDS = 'processor/state/seen-ids.ts'
const REDIS = 'processor/testing/simulation/redis-server.ts'
const PRODUCERS = 'log/simulated/producers.ts'
const CONSUMER = 'log/simulated/consumer.ts'
const GROUP = 'log/simulated/group.ts'

/** What belongs to a client or to Redis' scripts is mutated in the simulated one. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'apply before commit',
    edits: [
      {
        file: COMMIT,
        find: '  await producer.commit()\n',
        replace:
          '  await Promise.all(frozen.map((task) => task.apply(clock.nowMs())))\n  await producer.commit()\n',
      },
    ],
  },
  {
    name: 'no token: neither a take-over nor a request asks for it',
    edits: [
      { file: REDIS, find: "    if (before.token > owner.token) return 'NOT_OURS'\n", replace: '' },
      {
        file: REDIS,
        find: 'sameLog(meta, owner) && meta.token === owner.token &&',
        replace: 'sameLog(meta, owner) &&',
      },
    ],
    family: '(7)',
  },
  {
    name: 'no compare-and-set on the checkpoint',
    edits: [
      {
        file: REDIS,
        find: "    if (!sameCheckpoint(meta.checkpoint, proof.checkpoint)) return 'NOT_OURS'\n",
        replace: '',
      },
    ],
    family: '(6)',
  },
  {
    name: 'a read ignores the meta',
    edits: [
      {
        file: REDIS,
        find: '    const keys = this.#ownKeys(task, proof)\n    if (keys === null) return null\n    const { checkpoint } = keys.meta',
        replace:
          '    const keys = this.#tasks.get(task)\n    if (keys === undefined) return new Map()\n    const { checkpoint } = { checkpoint: proof.checkpoint }',
      },
    ],
    family: '(6)',
  },
  {
    name: 'a read does not see that the checkpoint went back',
    edits: [
      {
        file: REDIS,
        find: 'return hasGoneBack ? null : entriesOf(keys)',
        replace: 'return hasGoneBack && false ? null : entriesOf(keys)',
      },
    ],
    family: '(6)',
  },
  {
    name: 'chunks do not prove the ones before them',
    edits: [
      { file: REDIS, find: "    if (!isInOrder) return 'NOT_OURS'\n", replace: '    void isInOrder\n' },
    ],
    family: '(6)',
  },
  {
    name: 'a delta instead of the full value',
    edits: [
      {
        file: WINDOW_ENTRIES,
        find: '      this.#aggregate.write(writer, cells, this.rowOf(slot))\n',
        replace:
          '      this.#aggregate.write(writer, cells, this.rowOf(slot))\n      cells.clear(this.rowOf(slot), this.rowOf(slot + 1) - 1)\n',
      },
    ],
  },
  {
    name: 'offsets outside of the transaction',
    edits: [
      {
        file: PRODUCERS,
        find: 'target.commitInTransaction(taken, group, identity.producerId)',
        replace: 'target.commit(taken, group)',
      },
    ],
    family: '(4)',
  },
  {
    name: 'offsets without member and generation',
    edits: [
      {
        file: PRODUCERS,
        find: 'target.commitInTransaction(taken, group, identity.producerId)',
        replace: 'target.commitInTransaction(taken, null, identity.producerId)',
      },
    ],
    family: '(1)',
  },
  {
    name: "the client's current generation instead of the captured one",
    edits: [
      {
        file: GROUP,
        find: 'if (group !== null) this.#assertMayCommit(group)',
        replace: 'if (group !== null) this.#assertMayCommit({ ...group, generation: this.#generation })',
      },
    ],
    family: '(1)',
  },
  {
    name: 'committed offsets are fetched while a transaction holds them',
    edits: [
      {
        file: CONSUMER,
        find: 'this.#group.fetch(partitions, true)',
        replace: 'this.#group.fetch(partitions, false)',
      },
    ],
    family: 'slow markers',
  },
  {
    name: 'a request is sent again, and its epoch goes on',
    edits: [{ file: PRODUCERS, find: '    if (this.#mayBeLate) await this.init()\n', replace: '' }],
    family: 'late requests',
  },
  {
    name: 'a restore does not wait for its own opened record',
    edits: [
      {
        file: RESTORE,
        find: 'changelog.stable > owner.token && windows.stable >= windows.end',
        replace: 'changelog.stable > -1 && windows.stable > -1 + 0 * owner.token',
      },
    ],
    family: 'slow markers',
  },
  {
    name: 'a restore ends after its first batch',
    edits: [
      {
        file: READ_UNTIL,
        find: '        batch.release()\n',
        replace: '        batch.release()\n        break\n',
      },
    ],
    family: '(6)',
  },
  {
    name: "the state's task record instead of the changelog's",
    edits: [
      {
        file: RESTORE,
        find: 'recordBytes === null ? before : decodeTaskRecord(recordBytes, id)',
        replace: 'recordBytes === null || before !== null ? before : decodeTaskRecord(recordBytes, id)',
      },
    ],
    family: '(4)',
  },
  {
    name: 'the task record is left out where no state changed',
    edits: [
      {
        file: COMMIT,
        find: '    frozen.map((task) => task.taskRecordAfter(windowsOffset.get(task) ?? null)),\n  )\n  frozen.forEach((task, i) => task.taskRecordSent(recordOffsets[i]!))\n',
        replace:
          '    frozen\n      .map((task) => [task, task.taskRecordAfter(windowsOffset.get(task) ?? null)] as const)\n      .filter(([task]) => task.changelog.count > 0)\n      .map(([, record]) => record),\n  )\n  changelogs.forEach((task, i) => task.taskRecordSent(recordOffsets[i]!))\n',
      },
    ],
    family: '(4)',
  },
  {
    name: 'closed-up-to is forgotten',
    edits: [
      {
        file: WINDOW,
        find: '      closedUpTo: this.closedUpTo === -Infinity ? null : this.closedUpTo,\n',
        replace: '      closedUpTo: null,\n',
      },
    ],
    family: '(4)',
  },
  {
    name: 'outputs are kept when the commit before them has failed',
    edits: [{ file: WORKER, find: '    this.#outputs.clear()\n', replace: '' }],
    family: '(1)',
  },
  {
    name: 'batches that were fetched before the tasks were opened again are processed',
    edits: [{ file: WORKER, find: '    this.#held = []\n', replace: '' }],
    family: '(6)',
  },
  {
    name: 'caches are kept, whoever had the task in between',
    edits: [
      {
        file: TASK_SET,
        find: 'if (parked?.owner.token === unchangedSince && parked.position === start.position) {',
        replace: 'void unchangedSince\n    if (parked !== undefined) {',
      },
    ],
    family: '(2)',
  },
  {
    name: 'missing offsets are a fresh start',
    edits: [
      {
        file: OPEN,
        find: 'const position = known?.offset ?? resolved ?? range.start',
        replace: 'const position = resolved === null ? range.start : (known?.offset ?? resolved)',
      },
    ],
    family: '(9)',
  },
  {
    name: "'unresolved' is a position",
    edits: [
      {
        file: OPEN,
        find: 'committed !== null && committed.metadata !== UNRESOLVED ?',
        replace: 'committed !== null ?',
      },
    ],
    family: '(9)',
  },
  {
    name: 'the generation is the token, and no opened record is written',
    edits: [
      {
        file: OPEN,
        find: '  const tokens = await producer.send(batches)\n',
        replace: '  const tokens = batches.map(() => group.generation)\n',
      },
    ],
    family: '(4)',
  },
  {
    name: 'a promise of time before the windows that it covers',
    edits: [
      {
        file: COMMIT,
        find: '  const frozen: FrozenTask[] = []\n',
        replace: '  const frozen: FrozenTask[] = []\n  writePromises(dependencies.outputs, moved)\n',
      },
    ],
    family: '(3)',
  },
  {
    name: 'ids are kept in memory only',
    edits: [
      {
        file: SEEN_IDS,
        find: '      changelog.end()\n',
        replace: '      changelog.abandon()\n',
      },
    ],
    family: '(4)',
  },
  {
    name: 'the stall that was told of is forgotten',
    edits: [{ file: STALLS, find: '(toldMs ?? -Infinity)\n', replace: '-Infinity\n' }],
    family: 'sources that stall',
  },
  {
    name: 'a stall is not worth a commit of its own',
    edits: [
      {
        file: WORKER,
        find: 'if (task.noteQuiet(isResting)) this.#schedule.moved()',
        replace: 'task.noteQuiet(isResting)',
      },
    ],
    family: 'sources that stall',
  },
]

const COPIED = ['config', 'log', 'processor', 'schemas', 'telemetry', 'package.json', 'test/simulation']
/** So long may a run of seeds take: a mutation that makes it hang is not caught by that. */
const PATIENCE_MS = 240_000

/**
 * Runs seeds on a copy of the sources with the fault in it, until one is violated.
 * @throws Error where the mutation does not fit the sources (any more)
 */
export async function tryMutation(
  { edits, family }: Mutation,
  { seeds, jobs }: { seeds: number; jobs: number },
): Promise<{ isCaught: boolean; text: string }> {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const copy = await mkdtemp(join(tmpdir(), 'millrace-mutation-'))
  try {
    await mkdir(join(copy, 'test'))
    for (const path of COPIED) await cp(join(root, path), join(copy, path), { recursive: true })
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'))
    for (const { file, find, replace } of edits) await edit(join(copy, file), find, replace)
    const leaning = family === undefined ? [] : ['--family', family]
    for (let from = 0; ;) {
      const range = ['--from', String(from), '--seeds', String(seeds - from), '--jobs', String(jobs)]
      const { code, output } = await run(copy, [...range, '--until-violated', ...leaning])
      const violated = /^seed (\d+) .*$/m.exec(output)
      if (code === null || violated === null) {
        return { isCaught: false, text: code === 0 ? `not within ${seeds} seeds` : output.slice(-1_500) }
      }
      // The fault that was put in has to be what was noticed.
      const seed = Number(violated[1])
      const without = await simulate(scenarioOf(seed, familyNamed(family)))
      if (without.violations.length === 0) return { isCaught: true, text: violated[0].slice(0, 160) }
      from = seed + 1
    }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

/** The family that has this in its name. @throws Error where none has */
export function familyNamed(part: string | undefined): Family | undefined {
  if (part === undefined) return undefined
  const found = FAMILIES.find((family) => family.includes(part))
  if (found === undefined) throw new Error(`'${part}' names no family: there are ${FAMILIES.join('; ')}`)
  return found
}

async function edit(path: string, find: string, replace: string): Promise<void> {
  const text = await readFile(path, 'utf8')
  const places = text.split(find).length - 1
  if (places !== 1) {
    throw new Error(`A mutation looks for a text that stands ${places} times in ${path}: ${find.trim()}`)
  }
  await writeFile(
    path,
    text.replace(find, () => replace),
  )
}

function run(directory: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['test/simulation/main.ts', ...args], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE_MS,
      killSignal: 'SIGKILL',
    })
    let output = ''
    const take = (chunk: Buffer): void => void (output += chunk.toString())
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}
