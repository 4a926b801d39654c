import assert from 'node:assert/strict'
import { TopicRegistryStore } from '../../cli/registry-store.ts'
import { createMemoryLog } from '../../log/embedded/embedded-log.ts'
import type { Log } from '../../log/port.ts'
import { EmbeddedRegistry } from '../../schemas/registry.ts'
import { double, long, optional, schema, string } from '../../schemas/schema.ts'
import { registryContract } from '../contract/registry.ts'

registryContract('kept in a topic of the log', async () => {
  const log = await createMemoryLog()
  const open = (): EmbeddedRegistry => new EmbeddedRegistry(new TopicRegistryStore(log))
  return {
    registry: open(),
    reopen: () => Promise.resolve(open()),
    close: () => log.close(),
  }
})

describe('registries of several processes on one log', () => {
  let log: Log
  beforeEach(async () => {
    log = await createMemoryLog()
  })
  afterEach(() => log.close())

  const registries = (count: number): EmbeddedRegistry[] =>
    Array.from({ length: count }, () => new EmbeddedRegistry(new TopicRegistryStore(log)))
  const schemaNo = (i: number): string => schema(`Item${i}`, { item_id: string(), n: long() }).avroText

  it('give one id to one schema, however many register at once', async () => {
    const all = registries(6)
    const ids = await Promise.all(
      all.map((registry, process) =>
        // Each in an order of its own, as if each had come first.
        Promise.all(
          Array.from({ length: 5 }, async (_, i) => {
            const no = (i + process) % 5
            return [no, await registry.register(`topic-${no}-value`, schemaNo(no))] as const
          }),
        ),
      ),
    )
    const byProcess = ids.map((pairs) => new Map(pairs))
    const [first] = byProcess
    for (const other of byProcess) {
      assert.deepEqual([...other].sort(), [...first!].sort())
    }
    assert.equal(new Set(first!.values()).size, 5)
    for (const registry of [...all, ...registries(1)]) {
      for (const [no, id] of first!) assert.equal(await registry.schemaById(id), schemaNo(no))
    }
  })

  it('know what another has registered since they looked', async () => {
    const [one, other] = registries(2)
    assert.equal(await other!.latest('a-value'), null)
    const id = await one!.register('a-value', schemaNo(1))
    assert.equal(await other!.schemaById(id), schemaNo(1))
    assert.deepEqual(await other!.latest('a-value'), { id, avroText: schemaNo(1) })
    assert.equal(await other!.register('b-value', schemaNo(1)), id)
  })

  it('refuse, of two schemas that cannot follow each other, the one that comes second', async () => {
    const base = schema('Item', { item_id: string() }).avroText
    const candidates = [
      schema('Item', { item_id: string(), price: double() }).avroText,
      schema('Item', { item_id: string(), price: optional(string()) }).avroText,
    ]
    const [keeper, ...rivals] = registries(3)
    await keeper!.register('a-value', base)
    // Both have looked, and judge by the same latest schema.
    await Promise.all(rivals.map((registry) => registry.latest('a-value')))
    await keeper!.register('a-value', schema('Item', { item_id: string(), price: optional(long()) }).avroText)
    for (const [i, registry] of rivals.entries()) {
      await assert.rejects(registry.register('a-value', candidates[i]!), { code: 'INCOMPATIBLE_SCHEMA' })
    }
  })

  it('keep their ids when the topic is compacted', async () => {
    const subjects = await Promise.all(
      registries(4).map((registry) => registry.register('a-value', schemaNo(1))),
    )
    assert.equal(new Set(subjects).size, 1)
    const reader = log.partitionReader({ topic: '_millrace-schemas', partition: 0 }, 0)
    const keys = new Set<string>()
    let count = 0
    for (let batch = await reader.read(1 << 20); batch !== null; batch = await reader.read(1 << 20)) {
      for (let i = 0; i < batch.count; i++, count++) keys.add(batch.keyAt(i)!.toString())
    }
    await reader.close()
    assert.equal(keys.size, count, 'a key that came twice would be moved, and with it what came first')
  })
})
