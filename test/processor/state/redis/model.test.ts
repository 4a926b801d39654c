import assert from 'node:assert/strict'
import fc from 'fast-check'
import { BatchBuilder } from '../../../../log/batch.ts'
import { segmentPrefix } from '../../../../processor/state/keys.ts'
import { MemoryState } from '../../../../processor/state/memory/memory-state.ts'
import type { Checkpoint, StateBackend, StateWrite, TaskState } from '../../../../processor/state/port.ts'
import { testScale } from '../../../../config/test-scale.ts'
import { sharedRedis } from '../../../support/servers.ts'
import { openState, OWNER } from './support.ts'

/** Few keys, so that they meet; bytes that a pattern or a text encoding could trip over. */
const keyOf = fc
  .record({
    segment: fc.integer({ min: 0, max: 2 }),
    rest: fc.constantFrom('', 'a', 'b', '*', '[a]', '\\', '?a', '\r\n', '\u00ff', 'x'.repeat(100)),
  })
  .map(({ segment, rest }) => Buffer.concat([segmentPrefix(1, segment * 1_000), Buffer.from(rest, 'latin1')]))
const valueOf = fc.option(fc.oneof(fc.uint8Array({ maxLength: 70 }), fc.constant(new Uint8Array(70_000))))

type Step =
  | { kind: 'apply'; batches: [Buffer, Uint8Array | null][][]; drops: number[]; record: boolean }
  | { kind: 'repeat' }
  | { kind: 'read'; keys: Buffer[] }
  | { kind: 'scan'; prefix: Buffer }
  | { kind: 'take over'; afresh: boolean }

const stepOf: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('apply' as const),
      batches: fc.array(fc.array(fc.tuple(keyOf, valueOf), { maxLength: 12 }), { maxLength: 3 }),
      drops: fc.uniqueArray(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
      record: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('repeat' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('read' as const), keys: fc.array(keyOf, { maxLength: 20 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('scan' as const), prefix: keyOf }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('take over' as const), afresh: fc.boolean() }) },
)

/** A task as its owner uses it, one step after the other. */
class Player {
  readonly #state: StateBackend
  #task: TaskState | null = null
  #token = 0
  #at: Checkpoint = { changelog: 0, windows: 0 }
  #last: StateWrite | null = null

  constructor(state: StateBackend) {
    this.#state = state
  }

  async play(step: Step): Promise<unknown> {
    if (this.#task === null) await this.#takeOver(true)
    const task = this.#task!
    switch (step.kind) {
      case 'apply':
        await task.apply((this.#last = this.#writeOf(step)))
        this.#at = this.#last.end
        return null
      case 'repeat':
        if (this.#last !== null) await task.apply(this.#last)
        return null
      case 'read':
        return (await task.readMany(step.keys)).map((value) => value?.toString('hex') ?? null)
      case 'scan': {
        const found: string[] = []
        for await (const chunk of task.scan(step.prefix)) {
          for (const { key, value } of chunk) found.push(`${key.toString('hex')}=${value.toString('hex')}`)
        }
        return found.sort()
      }
      case 'take over':
        return this.#takeOver(step.afresh)
    }
  }

  async #takeOver(afresh: boolean): Promise<unknown> {
    this.#task = await this.#state.takeOver('t_0', { ...OWNER, token: ++this.#token })
    const { found } = this.#task
    if (afresh || found === null) {
      await this.#task.newIncarnation(7)
      this.#at = { changelog: 0, windows: 0 }
      this.#last = null
    }
    return found
  }

  #writeOf({ batches, drops, record }: Extract<Step, { kind: 'apply' }>): StateWrite {
    const { changelog, windows } = this.#at
    return {
      records: batches.map((batch) => {
        const builder = new BatchBuilder('windows', 0)
        for (const [key, value] of batch) builder.append(key, value)
        return builder
      }),
      dropPrefixes: drops.map((segment) => segmentPrefix(1, segment * 1_000)),
      taskRecord: record ? Buffer.from(`record ${windows}`) : null,
      base: this.#at,
      end: { changelog: changelog + 1, windows: windows + 1 },
      timeMs: windows,
    }
  }
}

describe('state in Redis and in memory', () => {
  let url: string

  before(async function () {
    ;({ url } = await sharedRedis(this))
  })

  it('answer alike, whatever is applied, dropped, read, scanned and taken over', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(stepOf, { minLength: 1, maxLength: 12 }), async (steps) => {
        const redis = await openState(url)
        try {
          const ours = new Player(redis)
          const model = new Player(new MemoryState())
          for (const step of steps) assert.deepEqual(await ours.play(step), await model.play(step))
        } finally {
          await redis.close()
        }
      }),
      { numRuns: testScale.propertyRuns },
    )
  })
})
