import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { provisionCommand } from '../../cli/commands/provision.ts'
import { resolveSettings } from '../../cli/settings/settings.ts'
import { createTopics, inspectTopics } from '../../cli/wire/servers.ts'
import { sharedKafka } from '../support/servers.ts'
import { writeRenamedPipeline } from './renamed-pipeline.ts'
import { millrace, type Said } from './support.ts'

describe('millrace provision', () => {
  let cwd: string
  before(() => {
    cwd = mkdtempSync(join(tmpdir(), 'millrace-provision-'))
  })
  after(() => rmSync(cwd, { recursive: true, force: true }))

  it('has nothing to do where everything is embedded', async () => {
    const { exitCode, stdout } = await millrace(['provision', 'orders'], { cwd })
    assert.equal(exitCode, 0)
    assert.match(stdout, /makes what it needs in millrace-data: nothing to provision/)
  })

  it('refuses a number of copies that cannot be', async () => {
    const { exitCode, stderr } = await millrace(['provision', 'orders', '--replication', '0'], { cwd })
    assert.equal(exitCode, 2)
    assert.match(stderr, /--replication is "0": it must be a whole number from 1 to 32\./)
  })

  it('says in one sentence that Kafka is not there', async () => {
    const { exitCode, stderr } = await millrace(['provision', 'orders', '--yes'], {
      cwd,
      env: { KAFKA_BROKERS: '127.0.0.1:1' },
    })
    assert.equal(exitCode, 1)
    assert.match(stderr, /^error UNAVAILABLE: .*127\.0\.0\.1:1.*ECONNREFUSED/)
    assert.ok(!stderr.includes('    at '), stderr)
  })

  describe('on Kafka', () => {
    let env: Record<string, string>
    let name: string
    let file: string
    before(async function () {
      const { brokers } = await sharedKafka(this)
      env = { KAFKA_BROKERS: brokers }
    })
    beforeEach(() => {
      ;({ name, file } = writeRenamedPipeline(cwd))
    })
    const provision = (...args: string[]): Promise<Said> =>
      millrace(['provision', file, ...args], { cwd, env })
    const kafka = (): Parameters<typeof inspectTopics>[0] =>
      resolveSettings({ flags: {}, env, cwd }).stack!.kafka
    const describeTopics = async (
      ...topics: string[]
    ): Promise<Awaited<ReturnType<Awaited<ReturnType<typeof inspectTopics>>['describe']>>> => {
      const inspector = await inspectTopics(kafka())
      try {
        return await inspector.describe(
          topics.map((topic) => `${name}.${topic}`),
          ['cleanup.policy', 'retention.ms', 'message.timestamp.type', 'segment.ms'],
        )
      } finally {
        inspector.close()
      }
    }
    const change = async (topic: string, set: Record<string, string>): Promise<void> => {
      const inspector = await inspectTopics(kafka())
      try {
        await inspector.change([{ name: `${name}.${topic}`, set }])
      } finally {
        inspector.close()
      }
    }

    it('says the plan and changes nothing without consent', async () => {
      const dry = await provision('--dry-run')
      assert.equal(dry.exitCode, 0, dry.stderr)
      assert.match(
        dry.stdout,
        new RegExp(`\\+ create +${name}\\.order-events +4 partitions, 1 copy, delete, kept for ever`),
      )
      assert.match(
        dry.stdout,
        new RegExp(`\\+ create +${name}\\.orders-changelog +4 partitions, 1 copy, compact\n`),
      )
      assert.match(dry.stdout, /A dry run: nothing was changed\./)
      const without = await provision()
      assert.equal(without.exitCode, 2)
      assert.match(without.stderr, /^error BAD_USAGE: nobody is there to agree/)
      assert.deepEqual(await describeTopics('order-events'), [null])
    })

    it('does what it said when somebody agrees, and nothing when nobody does', async () => {
      const io = { stdout: { write: (): void => {} }, stderr: { write: (): void => {} }, env, cwd }
      const asked: string[] = []
      const answer = (yes: boolean) => (question: string) => {
        asked.push(question)
        return Promise.resolve(yes)
      }
      assert.equal(await provisionCommand({ pipeline: file, flags: {}, io, ask: answer(false) }), 1)
      assert.deepEqual(await describeTopics('order-events'), [null])
      assert.equal(await provisionCommand({ pipeline: file, flags: {}, io, ask: answer(true) }), 0)
      assert.notEqual((await describeTopics('order-events'))[0], null)
      assert.deepEqual(asked, ['Do this? [y/N] ', 'Do this? [y/N] '])
    })

    it('makes every topic as state needs it, and finds nothing to do the second time', async () => {
      const first = await provision('--yes', '--partitions', '2')
      assert.equal(first.exitCode, 0, first.stderr)
      assert.match(first.stdout, /Done: \d+ topics created, 0 topics changed\./)
      const [source, changelog, windows, sources, topology] = await describeTopics(
        'order-events',
        'orders-changelog',
        'orders-windows',
        'sources',
        'topology',
      )
      const settings = (topic: typeof source): Record<string, string | null> =>
        Object.fromEntries([...topic!.settings].map(([setting, { value }]) => [setting, value]))
      assert.equal(source!.partitions, 2)
      assert.equal(topology!.partitions, 1)
      assert.equal(settings(source)['cleanup.policy'], 'delete')
      assert.equal(settings(source)['message.timestamp.type'], 'LogAppendTime')
      assert.equal(settings(changelog)['cleanup.policy'], 'compact')
      assert.equal(settings(sources)['cleanup.policy'], 'compact')
      assert.deepEqual(settings(windows)['cleanup.policy']!.split(',').sort(), ['compact', 'delete'])
      assert.equal(settings(windows)['retention.ms'], '-1')
      // Without --partitions: as many as there are.
      const second = await provision('--yes')
      assert.equal(second.exitCode, 0, second.stderr)
      assert.match(second.stdout, /= \d+ topics are as wanted\nNothing to do\.\n$/)
    })

    it('leaves what run makes as it is', async () => {
      await createTopics(kafka(), [
        { name: `${name}.order-events`, partitions: 3, cleanup: 'delete', retentionMs: -1 },
      ])
      const { exitCode, stdout } = await provision('--dry-run')
      assert.equal(exitCode, 0)
      assert.match(stdout, new RegExp(`${name}\\.orders-changelog +3 partitions`))
      assert.ok(!stdout.includes(`create  ${name}.order-events`), stdout)
      assert.ok(!stdout.includes('~ change'), stdout)
    })

    it('sets right what state depends on, and leaves what somebody chose', async () => {
      assert.equal((await provision('--yes')).exitCode, 0)
      await change('orders-changelog', { 'cleanup.policy': 'delete', 'segment.ms': '12345678' })
      await change('order-events', { 'retention.ms': '86400000', 'message.timestamp.type': 'CreateTime' })
      const { exitCode, stdout } = await provision('--yes')
      assert.equal(exitCode, 0)
      assert.match(stdout, /orders-changelog +cleanup\.policy: delete → compact/)
      assert.match(stdout, /order-events +message\.timestamp\.type: CreateTime → LogAppendTime/)
      assert.match(stdout, /order-events: retention\.ms is 86400000, as somebody set it/)
      assert.match(stdout, /Done: 0 topics created, 2 topics changed\./)
      const [changelog, source] = await describeTopics('orders-changelog', 'order-events')
      assert.equal(changelog!.settings.get('cleanup.policy')!.value, 'compact')
      assert.equal(changelog!.settings.get('segment.ms')!.value, '12345678')
      assert.equal(source!.settings.get('retention.ms')!.value, '86400000')
      assert.equal(source!.settings.get('message.timestamp.type')!.value, 'LogAppendTime')
      assert.match((await provision('--yes')).stdout, /Nothing to do\./)
    })

    it('changes no number of partitions, and says what can be done', async () => {
      await provision('--yes', '--partitions', '2')
      const { exitCode, stdout, stderr } = await provision('--yes', '--partitions', '3')
      assert.equal(exitCode, 1)
      assert.match(
        stdout,
        new RegExp(`✗ \\d+ topics have another number .*${name}\\.order-events: 2, not 3.*--partitions 2`),
      )
      assert.match(stderr, /Nothing was changed/)
      assert.equal((await describeTopics('order-events'))[0]!.partitions, 2)
    })

    it('says why topics cannot be made', async () => {
      const { exitCode, stderr } = await provision('--yes', '--replication', '3')
      assert.equal(exitCode, 1)
      assert.match(stderr, /^error [A-Z_]+: .*(replication|REPLICATION)/)
      assert.ok(!stderr.includes('    at '), stderr)
    })
  })
})
