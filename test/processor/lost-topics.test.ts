import assert from 'node:assert/strict'
import { setUp } from '../../processor/runtime/setup.ts'
import { Worker } from '../../processor/runtime/worker.ts'
import { PipelineDriver } from '../../processor/testing/driver.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { copies, START } from './copies.ts'

describe('a task whose topics somebody else has cut or deleted', () => {
  let driver: PipelineDriver

  beforeEach(async () => {
    driver = await PipelineDriver.open(copies, { partitions: 1 })
    await send('e-1')
    await driver.settle()
    await send('e-2')
    await driver.settle()
    driver.kill()
  })
  afterEach(() => driver.close())

  const send = (id: string): Promise<number> => driver.send('events', [{ id, happened: START }])

  async function start(): Promise<number> {
    const { log, state, plan, clock } = driver
    const registry = new EmbeddedRegistry({
      load: () => Promise.resolve([]),
      append: () => Promise.resolve(),
    })
    const schemaIds = await setUp(log, registry, plan)
    const worker = new Worker({ log, state, plan, schemaIds, clock, commitIntervalMs: 0 })
    try {
      return await worker.runOnce(20)
    } finally {
      await worker.close()
    }
  }

  const changelog = (): string => driver.plan.subTopologies[0]!.changelogTopic
  const windows = (): string => driver.plan.subTopologies[0]!.windowsTopic

  it('stops where its changelog is gone, rather than go on without its state', async () => {
    await driver.log.admin.deleteTopic(changelog())
    driver.state.flush()
    await assert.rejects(start(), { code: 'CHANGELOG_LOST', message: /copies\..*changelog partition 0/ })
  })

  it('stops where records of open windows were deleted and its state is gone', async () => {
    await driver.log.admin.deleteRecords([{ topic: windows(), partition: 0, offset: 2 }])
    driver.state.flush()
    await assert.rejects(start(), { code: 'CHANGELOG_LOST', message: /open windows begin at offset 0/ })
  })

  it('goes on where such records were deleted and its state holds them', async () => {
    await driver.log.admin.deleteRecords([{ topic: windows(), partition: 0, offset: 1 }])
    await send('e-1')
    assert.ok((await start()) > 0)
    assert.equal((await driver.rows('d.copies')).length, 2)
  })

  it('stops where its source topic was made anew', async () => {
    await driver.log.admin.deleteTopic(driver.plan.subTopologies[0]!.inputTopic)
    await assert.rejects(start(), { code: 'INPUT_RECREATED' })
  })

  it('stops where the records that come next were deleted', async () => {
    const { inputTopic } = driver.plan.subTopologies[0]!
    await send('e-3')
    await send('e-4')
    const [range] = await driver.log.admin.offsets([{ topic: inputTopic, partition: 0 }])
    await driver.log.admin.deleteRecords([{ topic: inputTopic, partition: 0, offset: range!.stable - 1 }])
    await assert.rejects(start(), { code: 'POSITION_OUT_OF_RANGE' })
  })
})
