import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { generator } from '../../../bridge/generator/generator-input.ts'
import { sourcesTopic, sourcesTopicConfig } from '../../../bridge/positions.ts'
import { openSources, type Sources } from '../../../bridge/sources.ts'
import { TopicRegistryStore } from '../../../cli/registry-store.ts'
import { isDrained } from '../../../cli/roles/drain.ts'
import { Telemetry } from '../../../cli/telemetry/telemetry.ts'
import { systemClock } from '../../../config/clock.ts'
import { createMemoryLog } from '../../../log/embedded/embedded-log.ts'
import type { Log } from '../../../log/port.ts'
import orders, { generators } from '../../../pipelines/orders/index.ts'
import { setUp } from '../../../processor/runtime/setup.ts'
import { Worker } from '../../../processor/runtime/worker.ts'
import { MemoryState } from '../../../processor/state/memory/memory-state.ts'
import { StateError } from '../../../processor/state/port.ts'
import { inputPartitions, planPipeline, type Plan } from '../../../processor/topology/plan.ts'
import { EmbeddedRegistry } from '../../../schemas/registry.ts'
import { openWarehouse, type Warehouse } from '../../../sinks/local/warehouse.ts'
import { SinkRunner } from '../../../sinks/runner.ts'
import { FAMILIES } from '../../../telemetry/families.ts'
import type { TelemetryServer } from '../../../telemetry/server.ts'
import { familiesOf, valueOf } from '../../telemetry/exposition.ts'
import { BIN } from '../support.ts'

const COUNT = 3_000

describe('the telemetry of a process', () => {
  let directory: string
  let log: Log
  let warehouse: Warehouse
  let telemetry: Telemetry
  let server: TelemetryServer
  let plan: Plan
  let worker: Worker
  let sources: Sources
  let sink: SinkRunner
  const state = new MemoryState()
  const stop = new AbortController()
  const running: Promise<unknown>[] = []

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-telemetry-'))
    telemetry = new Telemetry({ application: 'orders', role: 'run', clock: systemClock })
    server = await telemetry.serve({ host: '127.0.0.1', port: 0 })
    log = await createMemoryLog()
    warehouse = await openWarehouse({ path: join(directory, 'warehouse.duckdb') })
  })
  after(async () => {
    stop.abort()
    await Promise.all(running)
    await server.close()
    await warehouse.close()
    await log.close()
    rmSync(directory, { recursive: true, force: true })
  })

  const get = (path: string): Promise<Response> => fetch(`${server.url}${path}`)
  const scrape = async (): Promise<string> => (await get('/metrics')).text()
  const reasons = async (): Promise<Record<string, string>> => {
    const { reasons: found } = (await (await get('/readyz')).json()) as {
      reasons: { name: string; reason: string }[]
    }
    return Object.fromEntries(found.map(({ name, reason }) => [name, reason]))
  }

  it('is alive and not ready while it starts', async () => {
    assert.equal((await get('/healthz')).status, 200)
    assert.equal((await get('/readyz')).status, 503)
    assert.deepEqual(await reasons(), { start: 'starting' })
  })

  it('says that no tasks have been assigned before they are', async () => {
    plan = planPipeline(orders, { partitions: 2 })
    const registry = new EmbeddedRegistry(new TopicRegistryStore(log))
    const schemaIds = await setUp(log, registry, plan)
    await log.admin.createTopics([{ name: sourcesTopic('orders'), ...sourcesTopicConfig(2) }])
    const watched = telemetry.watchedLog(log)
    worker = new Worker({
      log: watched,
      state: telemetry.observedState(state),
      plan,
      schemaIds,
      events: telemetry.workerEvents,
    })
    const node = orders.graph.nodes.find((candidate) => candidate.kind === 'source')
    assert.ok(node?.kind === 'source')
    const topic = plan.topicOf(node)
    sources = await openSources({
      log,
      application: 'orders',
      sources: [
        {
          name: node.name,
          topic,
          contract: node.contract,
          schemaId: schemaIds.get(`${topic}-value`)!,
          input: generator({
            maker: generators.orders,
            ratePerMinute: 500,
            count: COUNT,
            badShare: 0.01,
            seed: 1,
            sinceMs: 3_600_000,
          }),
        },
      ],
      deadLetterSchemaId: schemaIds.get(`${plan.deadLetterTopic}-value`)!,
      finite: true,
    })
    const spec = plan.sinks.find(({ table }) => table.name === 'ecommerce_orders.orders')!
    sink = new SinkRunner({
      log: watched,
      registry,
      sink: warehouse.sink(spec.table),
      application: 'orders',
      pipeline: 'orders',
      topic: spec.topic,
      instance: 'test',
      report: (event) => telemetry.sinkEvent(event),
    })
    telemetry.watch({ log, topic: plan.deadLetterTopic, worker, sources, sinks: [sink] })
    await untilNextReadiness()
    assert.deepEqual(await reasons(), { tasks: 'no tasks have been assigned yet' })
  })

  it('is ready once its tasks run, and serves every family that the docs name', async () => {
    running.push(worker.run(stop.signal), sink.run(stop.signal))
    await sources.run(stop.signal)
    while (!(await isDrained(log, worker.groupId, inputPartitions(plan)))) await sleep(20)
    const end = await log.admin.offsets([0, 1].map((partition) => ({ topic: sink.topic, partition })))
    await sink.whenDurable(end.map(({ stable }, partition) => ({ partition, offset: stable })))
    const text = await scrape()
    await untilNextReadiness()
    assert.deepEqual(await reasons(), {})
    const families = familiesOf(text)
    for (const { name, type } of Object.values(FAMILIES)) assert.equal(families.get(name), type, name)

    const total = (name: string): number =>
      [0, 1].reduce((sum, i) => sum + (valueOf(text, name, { task: `orders_${i}` }) ?? NaN), 0)
    const source = (name: string): number => valueOf(text, name, { source: 'orders' }) ?? NaN
    const valid = source('millrace_source_records_total')
    assert.equal(valid + source('millrace_source_invalid_records_total'), COUNT)
    assert.ok(source('millrace_source_invalid_records_total') > 0)
    assert.equal(total('millrace_processed_records_total'), valid)
    assert.ok(total('millrace_task_watermark_seconds') > 0)
    assert.ok(valueOf(text, 'millrace_commits_total', {})! > 0)
    assert.ok(valueOf(text, 'millrace_committed_records_total', {})! >= valid)
    assert.ok(valueOf(text, 'millrace_end_to_end_latency_seconds_count', {})! > 0)
    assert.ok(valueOf(text, 'millrace_commit_duration_seconds_count', {})! > 0)
    assert.ok(valueOf(text, 'millrace_state_write_duration_seconds_count', {})! > 0)
    assert.ok(valueOf(text, 'millrace_state_written_records_total', {})! > 0)
    assert.ok(valueOf(text, 'millrace_cache_max_bytes', {})! > 0)
    assert.ok(valueOf(text, 'millrace_sink_rows_total', { destination: sink.destination })! > 0)
    assert.equal(valueOf(text, 'millrace_sink_lag_records', { destination: sink.destination }), 0)
    assert.equal(valueOf(text, 'millrace_family_unavailable', { family: 'millrace_task_lag_records' }), 0)
    const input = { task: 'orders_1', topic: 'orders.order-events', partition: '1' }
    assert.equal(valueOf(text, 'millrace_task_lag_records', input), 0)
    assert.equal(valueOf(text, 'millrace_tasks', {}), worker.tasks.length)
  })

  it('has a family for everything that tasks count', () => {
    const known = /\.(records|refused|duplicates|late|closed|emptySkipped)$/
    for (const { counters } of worker.tasks) {
      for (const name of Object.keys(counters.snapshot())) assert.match(name, known)
    }
  })

  it('is not ready while the destination cannot be written, or the state is away', async () => {
    const error = new Error('the disk is full.')
    telemetry.sinkEvent({ kind: 'waiting', destination: 'orders', error, retryInMs: 100 })
    const away = telemetry.observedState({
      takeOver: () => Promise.reject(new StateError('STATE_UNAVAILABLE', 'Redis is away.')),
      close: () => Promise.resolve(),
    })
    const owner = { clusterId: 'c', topicId: 't', token: 1 }
    await assert.rejects(away.takeOver('orders_0', owner), /Redis is away/)
    await untilNextReadiness()
    assert.deepEqual(await reasons(), { sinks: 'orders: the disk is full.', state: 'Redis is away.' })
    assert.equal((await get('/healthz')).status, 200)
    telemetry.sinkEvent({ kind: 'resumed', destination: 'orders', waitedMs: 100 })
    assert.equal(valueOf(await scrape(), 'millrace_state_errors_total', { code: 'STATE_UNAVAILABLE' }), 1)
  })
})

describe('millrace run --metrics-port', () => {
  it('says where it serves, is ready once it works, and ends with the run', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-metrics-'))
    const args = [
      'run',
      'orders',
      '--data-dir',
      join(directory, 'data'),
      '--metrics-port',
      '0',
      '--since',
      '10m',
    ]
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit') as Promise<[number | null]>
    try {
      const first = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()
      const [, url] = /metrics (http:\S+)\/metrics/.exec(String(first.value)) ?? []
      assert.ok(url !== undefined, String(first.value))
      while ((await fetch(`${url}/readyz`)).status !== 200) await sleep(100)
      assert.equal((await fetch(`${url}/healthz`)).status, 200)
      const text = await (await fetch(`${url}/metrics`)).text()
      const families = familiesOf(text)
      for (const { name, type } of Object.values(FAMILIES)) assert.equal(families.get(name), type, name)
      assert.match(text, /^millrace_info\{application="orders",role="run",version="[\d.]+"\} 1$/m)
      assert.match(
        text,
        /^millrace_task_position\{task="orders_0",topic="orders\.order-events",partition="0"\} \d+$/m,
      )
    } finally {
      child.kill('SIGINT')
      const [exitCode] = await exited
      rmSync(directory, { recursive: true, force: true })
      assert.equal(exitCode, 0)
    }
  })
})

/** Readiness is asked for anew once a second at most. */
function untilNextReadiness(): Promise<void> {
  return sleep(1_010)
}
