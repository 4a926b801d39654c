import assert from 'node:assert/strict'
import { extend, double, long, optional, schema, string } from '../../schemas/schema.ts'
import { RegistryError, type SchemaRegistry } from '../../schemas/registry.ts'

export interface RegistryUnderTest {
  readonly registry: SchemaRegistry
  /** Another client of the same registry, which remembers nothing. */
  reopen(): Promise<SchemaRegistry>
  close(): Promise<void>
}

const base = schema('Item', { item_id: string(), count: long() })
const withNote = extend(base, { note: optional(string()) })

/** What every schema registry promises. Subjects are made unique, so that a shared server can be used. */
export function registryContract(name: string, open: () => Promise<RegistryUnderTest>): void {
  describe(`schema registry: ${name}`, () => {
    let opened: RegistryUnderTest
    let registry: SchemaRegistry
    let sequence = 0
    const run = `${process.pid}-${Date.now()}`
    const freshSubject = (): string => `contract-${run}-${sequence++}-value`

    beforeEach(async () => {
      opened = await open()
      registry = opened.registry
    })

    afterEach(() => opened.close())

    it('gives a schema back by its id', async () => {
      const id = await registry.register(freshSubject(), base.avroText)
      assert.ok(Number.isInteger(id) && id > 0 && id < 2 ** 31)
      assert.deepEqual(JSON.parse(await registry.schemaById(id)), base.avro)
    })

    it('gives the same id for the same schema, under the same and under another subject', async () => {
      const subject = freshSubject()
      const id = await registry.register(subject, base.avroText)
      assert.equal(await registry.register(subject, base.avroText), id)
      assert.equal(await registry.register(subject, JSON.stringify(base.avro, null, 2)), id)
      assert.equal(await registry.register(freshSubject(), base.avroText), id)
    })

    it('gives different schemas different ids', async () => {
      const subject = freshSubject()
      const first = await registry.register(subject, base.avroText)
      const second = await registry.register(subject, withNote.avroText)
      assert.notEqual(first, second)
      assert.deepEqual(JSON.parse(await registry.schemaById(first)), base.avro)
      assert.deepEqual(JSON.parse(await registry.schemaById(second)), withNote.avro)
    })

    it('gives different ids to schemas registered at the same time, and one to equal ones', async () => {
      const subjects = [freshSubject(), freshSubject(), freshSubject()]
      const [first, second, third] = await Promise.all([
        registry.register(subjects[0]!, base.avroText),
        registry.register(subjects[1]!, withNote.avroText),
        registry.register(subjects[2]!, base.avroText),
      ])
      assert.notEqual(first, second)
      assert.equal(first, third)
    })

    it('knows the latest schema of a subject, and says null for a subject without one', async () => {
      const subject = freshSubject()
      assert.equal(await registry.latest(subject), null)
      await registry.register(subject, base.avroText)
      const id = await registry.register(subject, withNote.avroText)
      const latest = await registry.latest(subject)
      assert.equal(latest?.id, id)
      assert.deepEqual(JSON.parse(latest!.avroText), withNote.avro)
    })

    it('keeps what was registered for a client that comes later', async () => {
      const subject = freshSubject()
      const id = await registry.register(subject, base.avroText)
      const other = await opened.reopen()
      assert.deepEqual(JSON.parse(await other.schemaById(id)), base.avro)
      assert.equal((await other.latest(subject))?.id, id)
      assert.equal(await other.register(subject, base.avroText), id)
    })

    it('says that it does not know an id', async () => {
      await assert.rejects(
        registry.schemaById(2_147_483_000),
        (error) => error instanceof RegistryError && error.code === 'UNKNOWN_SCHEMA',
      )
    })

    const refused = async (next: string): Promise<RegistryError> => {
      const subject = freshSubject()
      const id = await registry.register(subject, base.avroText)
      let refusal: unknown
      await registry.register(subject, next).catch((error: unknown) => (refusal = error))
      assert.ok(refusal instanceof RegistryError, `expected a RegistryError, got ${String(refusal)}`)
      assert.equal(refusal.code, 'INCOMPATIBLE_SCHEMA')
      assert.match(refusal.message, new RegExp(subject))
      assert.equal((await registry.latest(subject))?.id, id, 'a refused schema is not registered')
      return refusal
    }

    it('refuses a new field without a default, and names it', async () => {
      assert.match((await refused(extend(base, { price: double() }).avroText)).message, /price/)
    })

    it('refuses a field whose type changed, and names it', async () => {
      const changed = schema('Item', { item_id: string(), count: string() })
      assert.match((await refused(changed.avroText)).message, /count/)
    })

    it('accepts a field that is gone, and a type that is wider', async () => {
      const subject = freshSubject()
      await registry.register(subject, withNote.avroText)
      await registry.register(subject, base.avroText)
      await registry.register(subject, schema('Item', { item_id: string(), count: double() }).avroText)
    })

    it('refuses a text that is no Avro schema', async () => {
      for (const text of ['{', '"sting"', '{"type":"record","name":"Item"}']) {
        await assert.rejects(
          registry.register(freshSubject(), text),
          (error) => error instanceof RegistryError && error.code === 'INVALID_SCHEMA',
          text,
        )
      }
    })
  })
}
