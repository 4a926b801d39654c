import assert from 'node:assert/strict'
import { double, long, optional, schema, string } from '../../schemas/schema.ts'
import { EmbeddedRegistry, type RegistryEntry, type RegistryStore } from '../../schemas/registry.ts'
import { registryContract } from '../contract/registry.ts'

class MemoryStore implements RegistryStore {
  readonly entries: RegistryEntry[] = []
  failure: 'before' | 'after' | null = null

  load(): Promise<RegistryEntry[]> {
    return Promise.resolve([...this.entries])
  }

  append(entry: RegistryEntry): Promise<void> {
    const failure = this.failure
    this.failure = null
    if (failure !== 'before') this.entries.push(entry)
    return failure === null ? Promise.resolve() : Promise.reject(new Error('the disk is full'))
  }
}

registryContract('embedded', async () => {
  const store = new MemoryStore()
  return {
    registry: new EmbeddedRegistry(store),
    reopen: async () => new EmbeddedRegistry(store),
    close: async () => undefined,
  }
})

describe('the embedded registry', () => {
  const first = schema('A', { a: string() }).avroText
  const second = schema('B', { b: long() }).avroText

  it('names every difference that makes a schema incompatible', async () => {
    const registry = new EmbeddedRegistry(new MemoryStore())
    await registry.register('a-value', schema('A', { a: string(), n: long(), m: optional(long()) }).avroText)
    const refuse = async (text: string, said: RegExp): Promise<void> =>
      assert.rejects(registry.register('a-value', text), { code: 'INCOMPATIBLE_SCHEMA', message: said })
    await refuse(
      schema('A', { a: long(), n: long(), b: string() }).avroText,
      /field a was string, now long; new field b has no default/,
    )
    await refuse(schema('A', { m: long() }).avroText, /field m was \["null","long"\], now long/)
    await refuse(schema('B', { a: string() }).avroText, /called B, the latest A/)
    await registry.register('a-value', schema('A', { a: optional(string()), n: double() }).avroText)
  })

  it('stores one entry a registration, and none for what it has', async () => {
    const store = new MemoryStore()
    const registry = new EmbeddedRegistry(store)
    await registry.register('a-value', first)
    await registry.register('a-value', first)
    await registry.register('b-value', first)
    await registry.register('c-value', second)
    assert.deepEqual(store.entries, [
      { subject: 'a-value', id: 1, avroText: first },
      { subject: 'b-value', id: 1, avroText: first },
      { subject: 'c-value', id: 2, avroText: second },
    ])
  })

  it('never gives one id to two schemas when a write failed and was stored all the same', async () => {
    for (const failure of ['before', 'after'] as const) {
      const store = new MemoryStore()
      const registry = new EmbeddedRegistry(store)
      store.failure = failure
      await assert.rejects(registry.register('a-value', first), /disk is full/)
      const id = await registry.register('b-value', second)
      assert.equal(await registry.schemaById(id), second)
      const again = await registry.register('a-value', first)
      assert.notEqual(again, id)
      const reopened = new EmbeddedRegistry(store)
      assert.equal(await reopened.schemaById(id), second)
      assert.equal(await reopened.schemaById(again), first)
    }
  })

  it('tries a failed load again', async () => {
    const store = new MemoryStore()
    await new EmbeddedRegistry(store).register('a-value', first)
    let failures = 1
    const registry = new EmbeddedRegistry({
      load: () => (failures-- > 0 ? Promise.reject(new Error('not now')) : store.load()),
      append: (entry) => store.append(entry),
    })
    await assert.rejects(registry.latest('a-value'), /not now/)
    assert.equal((await registry.latest('a-value'))?.id, 1)
  })
})
