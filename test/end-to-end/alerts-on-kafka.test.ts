import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { loadPipeline } from '../../cli/pipelines/load.ts'
import type { NotifierStatus } from '../../cli/status/notifiers.ts'
import type { Status } from '../../cli/status/status.ts'
import { TopicRegistryStore } from '../../cli/registry-store.ts'
import { until } from '../../deploy/stack/wait.ts'
import { BatchBuilder } from '../../log/batch.ts'
import { openKafkaLog } from '../../log/kafkajs/kafka-log.ts'
import type { Log, TransactionalProducer } from '../../log/port.ts'
import { setUp } from '../../processor/runtime/setup.ts'
import { noticesTopic, planPipeline } from '../../processor/topology/plan.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { writeHeader } from '../../schemas/wire.ts'
import { recordedIn } from '../../sinks/notify/record.ts'
import { millrace } from '../cli/support.ts'
import { WebhookServer, type Behaviour, type Received } from '../sinks/webhook/server.ts'
import { sharedKafka } from '../support/servers.ts'
import { start, type Started } from './support.ts'

const SIZE_MS = 300_000
const PACKAGE = JSON.stringify(pathToFileURL(join(import.meta.dirname, '..', '..', 'index.ts')).href)

function pipelineOf(name: string): string {
  return `
import { contract, definePipeline, schema, source, string, timestamp, topic } from ${PACKAGE}
const fields = { alert_type: string(), country: string(), window_start: timestamp(), window_end: timestamp() }
const seen = contract('Seen', fields, { id: ['country', 'window_start'], key: 'country', eventTime: 'window_start', disorder: 0 })
export const alert = schema('Alert', fields)
export default definePipeline({
  name: '${name}',
  sources: { seen: source('seen', seen) },
  build(streams) {
    streams.seen.map((row) => row, { as: alert }).to(topic('alerts', {
      notify: { text: (row) => row.alert_type + ' in ' + row.country, runsOf: ['alert_type'], per: ['country'] },
    }))
  },
})
`
}

type Country = 'IE' | 'DE'
/** Each country's alerts are in a partition of their own. */
const PARTITIONS: Readonly<Record<Country, number>> = { IE: 0, DE: 1 }

interface StageParts {
  readonly name: string
  readonly log: Log
  readonly directory: string
  readonly server: WebhookServer
  readonly brokers: string
  readonly topic: string
  readonly producer: TransactionalProducer
  encode(row: Record<string, unknown>, builder: BatchBuilder): void
}

/** An alert topic on a real Kafka, which `millrace sink` processes tell people of. */
class AlertStage {
  readonly #parts: StageParts
  readonly #started: Started[] = []
  /** The beginning of a window. */
  readonly startMs = Math.floor(Date.now() / SIZE_MS) * SIZE_MS

  private constructor(parts: StageParts) {
    this.#parts = parts
  }

  static async open(brokers: string, server: WebhookServer): Promise<AlertStage> {
    const name = `alerting-${randomBytes(6).toString('hex')}`
    const directory = mkdtempSync(join(tmpdir(), 'millrace-alerts-'))
    writeFileSync(join(directory, 'pipeline.mts'), pipelineOf(name))
    const { pipeline } = await loadPipeline('./pipeline.mts', directory)
    const plan = planPipeline(pipeline, { partitions: 2 })
    const log = await openKafkaLog({ brokers: brokers.split(',') })
    const ids = await setUp(log, new EmbeddedRegistry(new TopicRegistryStore(log)), plan)
    const { topic, table } = plan.sinks[0]!
    const id = ids.get(`${topic}-value`)!
    const producer = log.transactionalProducer({ transactionalId: `${name}-test` })
    await producer.init()
    const encode = (row: Record<string, unknown>, builder: BatchBuilder): void => {
      writeHeader(builder.writer, id)
      table.schema.encode(builder.writer, row)
    }
    return new AlertStage({ name, log, directory, server, brokers, topic, encode, producer })
  }

  /** Starts a process that tells people. @param tables each process has a directory of its own while it lives */
  sink(tables = 'one'): Started {
    const process = start(
      [
        'sink',
        join(this.#parts.directory, 'pipeline.mts'),
        '--warehouse',
        join(this.#parts.directory, tables),
      ],
      {
        KAFKA_BROKERS: this.#parts.brokers,
        // A process that was killed is missed after so long; one that is slow must not be.
        KAFKA_SESSION_TIMEOUT_MS: '8000',
        ALERT_WEBHOOK_URL: this.#parts.server.url,
        MILLRACE_LOG_LEVEL: 'silent',
      },
    )
    this.#started.push(process)
    return process
  }

  /** One alert of each country, in one transaction; windows are counted back from the start. */
  async alert(back: number, kinds: Readonly<Partial<Record<Country, string>>>): Promise<void> {
    // What was taken back is none, and lies between those that are.
    await this.#send(back, { IE: 'TAKEN-BACK', DE: 'TAKEN-BACK' })
    await this.#parts.producer.abort()
    await this.#send(back, kinds)
    await this.#parts.producer.commit()
  }

  async #send(back: number, kinds: Readonly<Partial<Record<Country, string>>>): Promise<void> {
    const batches = Object.entries(kinds).map(([country, kind]) => {
      const builder = new BatchBuilder(this.#parts.topic, PARTITIONS[country as Country])
      builder.beginKey()
      builder.beginValue(true)
      const row = {
        alert_type: kind,
        country,
        window_start: this.startMs - back * SIZE_MS,
        window_end: this.startMs - (back - 1) * SIZE_MS,
      }
      this.#parts.encode(row, builder)
      builder.end()
      return builder
    })
    this.#parts.producer.begin()
    await this.#parts.producer.send(batches)
  }

  /** `IE SPIKE 3`: of the window that ended two windows before the start. */
  short({ key }: Pick<Received, 'key'>): string {
    const [country, kind, startsAt] = key.split('/').slice(-3)
    return `${country!} ${kind!} ${(this.startMs - Date.parse(startsAt!)) / SIZE_MS}`
  }

  /** What the webhook took of a country, in order, repetitions in a row once. */
  told(country: Country): string[] {
    return this.#parts.server.taken
      .map((received) => this.short(received))
      .filter((text) => text.startsWith(country))
      .filter((text, i, all) => text !== all[i - 1])
      .map((text) => text.slice(country.length + 1))
  }

  /** Until these are the last that the webhook was told. */
  async toldLast(last: Readonly<Partial<Record<Country, string>>>): Promise<void> {
    await this.#until(`the webhook to be told ${JSON.stringify(last)}`, () =>
      Promise.resolve(
        Object.entries(last).every(([country, text]) => this.told(country as Country).at(-1) === text),
      ),
    )
  }

  /** Until all that is in the topic is recorded as dealt with. */
  async recorded(): Promise<void> {
    const { log, topic, name } = this.#parts
    await this.#until('all to be recorded', async () => {
      const ends = await log.admin.offsets([0, 1].map((partition) => ({ topic, partition })))
      const found = await recordedIn(log, noticesTopic(name))
      // Behind the last row is the mark of its transaction.
      return ends.every(({ stable }, partition) =>
        found.some((record) => record.partition === partition && record.next >= stable - 1),
      )
    })
  }

  /** What `millrace status` says of the notifiers: the log's and the webhook's. */
  async status(): Promise<readonly NotifierStatus[]> {
    const { directory, brokers } = this.#parts
    const { exitCode, stdout, stderr } = await millrace(
      ['status', './pipeline.mts', '--json', '--warehouse', join(directory, 'none')],
      { cwd: directory, env: { KAFKA_BROKERS: brokers } },
    )
    assert.equal(exitCode, 0, stderr)
    return (JSON.parse(stdout) as Status).notifiers
  }

  /** Until so many processes share the notifier's partitions out, and each has one. */
  async shared(processes: number): Promise<void> {
    await this.#until(`${processes} processes to share the partitions`, async () => {
      const [group] = await this.#parts.log.admin.describeGroups([
        `${this.#parts.name}.sink.process-alerts.webhook`,
      ])
      const having = group!.members.filter(({ partitions }) => partitions.length > 0)
      return having.length === processes && having.flatMap(({ partitions }) => partitions).length === 2
    })
  }

  async close(): Promise<void> {
    for (const process of this.#started) await process.kill('SIGKILL')
    await this.#parts.producer.close()
    await this.#parts.log.close()
    rmSync(this.#parts.directory, { recursive: true, force: true })
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    try {
      await until(what, holds)
    } catch (error) {
      const said = this.#parts.server.taken.map((received) => this.short(received)).join(', ')
      throw new Error(`${(error as Error).message}; the webhook was told: ${said}`, { cause: error })
    }
  }
}

describe('alerts on Kafka', function () {
  this.timeout(480_000)
  let stage: AlertStage
  let server: WebhookServer

  beforeEach(async function () {
    const { brokers } = await sharedKafka(this)
    this.timeout(480_000)
    server = await new WebhookServer().listen()
    stage = await AlertStage.open(brokers, server)
  })
  afterEach(async () => {
    await stage.close()
    await server.close()
  })

  /** Every third request fails, each time in another way. */
  function failNowAndThen(): { readonly uncertain: Map<string, number>; next: (key: string) => Behaviour } {
    const ways: readonly Behaviour[] = [503, 'cut', 'take and cut', 408, 500]
    const uncertain = new Map<string, number>()
    let [asked, failed] = [0, 0]
    return {
      /** How often a notice was taken and the sender not told. */
      uncertain,
      next: (key) => {
        const way = asked++ % 3 === 1 ? ways[failed++ % ways.length]! : 200
        if (way === 'take and cut') uncertain.set(key, (uncertain.get(key) ?? 0) + 1)
        return way
      },
    }
  }

  function assertRepeatsAreExplained(uncertain: ReadonlyMap<string, number>): void {
    const byKey = Map.groupBy(server.taken, ({ key }) => key)
    for (const [key, all] of byKey) {
      assert.equal(new Set(all.map(({ text }) => text)).size, 1, key)
      assert.ok(all.length <= 1 + (uncertain.get(key) ?? 0), `${key}: ${all.length} times`)
    }
    assert.ok(![...byKey.keys()].some((key) => key.includes('TAKEN-BACK')))
  }

  it('tell the first and the last of each run, in order, whatever fails and whoever is killed', async () => {
    const { uncertain, next } = failNowAndThen()
    let [victim, victimKey]: [Started | null, string] = [null, '']
    let isAnsweredFirst = false
    let killed = 0
    server.behave = (received) => {
      if (victim === null || stage.short(received) !== victimKey) return next(received.key)
      // It has arrived, and nobody has recorded that yet.
      const dying = victim
      victim = null
      killed++
      if (!isAnsweredFirst) {
        void dying.kill('SIGKILL')
        return 'take and cut'
      }
      // The answer and the end reach it at nearly the same time: it may have begun to record it, or not.
      setTimeout(() => void dying.kill('SIGKILL'), 3)
      return 200
    }

    /** Of each partition the last notice may have been taken and not recorded. */
    const hasDied = async ({ said }: Started): Promise<void> => {
      assert.equal((await said).exitCode, null)
      for (const country of ['IE', 'DE']) {
        const last = server.taken.findLast((received) => stage.short(received).startsWith(country))
        uncertain.set(last!.key, (uncertain.get(last!.key) ?? 0) + 1)
      }
    }

    let current = stage.sink()
    await stage.alert(10, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.toldLast({ IE: 'SPIKE 10', DE: 'SPIKE 10' })
    await stage.alert(9, { IE: 'SPIKE', DE: 'DROP' })
    await stage.alert(8, { IE: 'SPIKE', DE: 'DROP' })
    await stage.toldLast({ DE: 'DROP 9' })

    // Killed with the last of a run delivered, and not recorded.
    ;[victim, victimKey] = [current, 'IE SPIKE 8']
    await stage.alert(7, { IE: 'DROP', DE: 'DROP' })
    await hasDied(current)
    current = stage.sink()
    await stage.toldLast({ IE: 'DROP 7' })

    // Ended cleanly; what comes while nobody is there waits.
    await stage.alert(6, { IE: 'DROP', DE: 'SPIKE' })
    await stage.toldLast({ DE: 'SPIKE 6' })
    await current.kill('SIGINT')
    assert.equal((await current.said).exitCode, 0, (await current.said).stderr)
    await stage.alert(5, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.alert(4, { DE: 'SPIKE' })
    current = stage.sink()
    await stage.toldLast({ IE: 'SPIKE 5' })

    // Killed with the first of a run delivered, and not recorded.
    ;[victim, victimKey] = [current, 'IE SPIKE 3']
    await stage.alert(3, { IE: 'SPIKE', DE: 'SPIKE' })
    await hasDied(current)
    current = stage.sink()
    await stage.alert(2, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.recorded()

    // Killed as it learns that the last was taken.
    isAnsweredFirst = true
    ;[victim, victimKey] = [current, 'DE SPIKE 2']
    await stage.alert(1, { IE: 'DROP', DE: 'DROP' })
    await hasDied(current)
    current = stage.sink()
    await stage.toldLast({ IE: 'DROP 1', DE: 'DROP 1' })
    await stage.recorded()

    assert.equal(killed, 3)
    assert.deepEqual(stage.told('IE'), [
      ...['SPIKE 10', 'SPIKE 8', 'DROP 7', 'DROP 6', 'SPIKE 5', 'SPIKE 3', 'SPIKE 2', 'DROP 1'],
    ])
    assert.deepEqual(stage.told('DE'), [...['SPIKE 10', 'DROP 9', 'DROP 7', 'SPIKE 6', 'SPIKE 2', 'DROP 1']])
    assertRepeatsAreExplained(uncertain)
    const last = server.taken.find((received) => stage.short(received) === 'DE SPIKE 2')
    assert.match(last!.text, /SPIKE in DE .*, the last of 5 such windows in a row since /)

    // What is recorded is not sent again.
    const { asked } = server
    await current.kill('SIGINT')
    const again = stage.sink()
    assert.ok(await again.bound)
    await stage.shared(1)
    await sleep(1_500)
    assert.equal(server.asked, asked)
  })

  it('go on with a run in whichever process its partition comes to', async () => {
    const { uncertain, next } = failNowAndThen()
    server.behave = ({ key }) => next(key)
    const first = stage.sink('one')
    await stage.alert(10, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.toldLast({ IE: 'SPIKE 10', DE: 'SPIKE 10' })
    await stage.alert(9, { IE: 'SPIKE', DE: 'SPIKE' })

    await stage.recorded()
    const [, told] = await stage.status()
    assert.deepEqual([told!.notifier, told!.members, told!.lag], ['process-alerts.webhook', 1, 0])
    assert.deepEqual([told!.openRuns, told!.recorded! > 0], [2, true])

    const second = stage.sink('two')
    await stage.shared(2)
    await stage.alert(8, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.recorded()

    // It does not answer, and the other has its partition; what it wakes up with is nobody's any more.
    process.kill(-first.pid, 'SIGSTOP')
    await stage.shared(1)
    await stage.alert(7, { IE: 'DROP', DE: 'DROP' })
    await stage.toldLast({ IE: 'DROP 7', DE: 'DROP 7' })
    process.kill(-first.pid, 'SIGCONT')
    await stage.shared(2)
    await stage.alert(6, { IE: 'DROP', DE: 'DROP' })
    await stage.recorded()

    await second.kill('SIGKILL')
    await stage.shared(1)
    await stage.alert(5, { IE: 'DROP', DE: 'DROP' })
    await stage.alert(4, { IE: 'SPIKE', DE: 'SPIKE' })
    await stage.toldLast({ IE: 'SPIKE 4', DE: 'SPIKE 4' })
    for (const country of ['IE', 'DE'] as const) {
      assert.deepEqual(stage.told(country), ['SPIKE 10', 'SPIKE 8', 'DROP 7', 'DROP 5', 'SPIKE 4'])
    }
    assertRepeatsAreExplained(uncertain)
    const lasts = server.taken.filter((received) => / (SPIKE 8|DROP 5)$/.test(stage.short(received)))
    for (const { text } of lasts) assert.match(text, /the last of 3 such windows in a row/)
    await first.kill('SIGINT')
    assert.equal((await first.said).exitCode, 0, (await first.said).stderr)

    // Nobody is there, and two rows wait.
    await stage.alert(3, { IE: 'SPIKE', DE: 'SPIKE' })
    const [logged, waiting] = await stage.status()
    assert.deepEqual([logged!.notifier, logged!.openRuns], ['process-alerts', null])
    assert.deepEqual([waiting!.members, waiting!.openRuns], [0, 0])
    for (const { lag, recorded, end } of [logged!, waiting!]) assert.ok(lag >= 2 && recorded! < end)
  })
})
