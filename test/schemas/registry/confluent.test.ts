import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startRegistry, type RegistryServer } from '../../../deploy/stack/servers.ts'
import { ConfluentRegistry, type ConfluentRegistryOptions } from '../../../schemas/registry/confluent.ts'
import { long, schema, string } from '../../../schemas/schema.ts'
import { registryContract } from '../../contract/registry.ts'
import { ownServer } from '../../support/servers.ts'

const TEXT = schema('Item', { item_id: string(), n: long() }).avroText

describe('a registry server', () => {
  let server: RegistryServer | undefined
  before(async function () {
    server = await ownServer(this, () => startRegistry())
  })
  after(() => server?.stop())

  const open = (): ConfluentRegistry => new ConfluentRegistry({ url: server!.env.SCHEMA_REGISTRY_URL })

  registryContract('Apicurio, by the API of Confluent', () =>
    Promise.resolve({
      registry: open(),
      reopen: () => Promise.resolve(open()),
      close: () => Promise.resolve(),
    }),
  )

  it('has the level BACKWARD for every subject that we make, whatever its default is', async () => {
    const subject = `level-${process.pid}-value`
    await open().register(subject, TEXT)
    const response = await fetch(`${server!.env.SCHEMA_REGISTRY_URL}/config/${subject}`)
    assert.deepEqual(await response.json(), { compatibilityLevel: 'BACKWARD' })
  })

  it('gives one id when several processes register a schema at once', async () => {
    const subject = `race-${process.pid}-value`
    const ids = await Promise.all(Array.from({ length: 6 }, () => open().register(subject, TEXT)))
    assert.equal(new Set(ids).size, 1)
  })
})

describe('a registry server that does not work', () => {
  let server: Server
  let answers: { status: number; body: unknown }[]
  let asked: string[]
  let url: string

  beforeEach(async () => {
    answers = []
    asked = []
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`)
      const { status, body } = answers.shift() ?? { status: 200, body: { id: 7, schema: TEXT } }
      request.resume()
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
      response.end(JSON.stringify(body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })

  /** Waits in no time, and counts how long it would have been. */
  function registryWith(options: Partial<ConfluentRegistryOptions> = {}): {
    registry: ConfluentRegistry
    said: string[]
    waitedMs(): number
  } {
    let nowMs = 0
    const said: string[] = []
    const registry = new ConfluentRegistry({
      url,
      clock: { nowMs: () => nowMs },
      timer: {
        sleep: (ms) => {
          nowMs += ms
          return Promise.resolve()
        },
        turn: () => Promise.resolve(),
      },
      random: () => 0,
      report: (message) => said.push(message),
      ...options,
    })
    return { registry, said, waitedMs: () => nowMs }
  }

  const away = { status: 503, body: { error_code: 50_301, message: 'no leader' } }

  it('is asked again, with pauses that grow, and that is said once', async () => {
    answers.push(away, away, { status: 500, body: {} }, { status: 429, body: {} })
    const { registry, said, waitedMs } = registryWith()
    assert.equal(await registry.schemaById(7), TEXT)
    assert.equal(waitedMs(), 100 + 200 + 400 + 800)
    assert.equal(said.length, 2)
    assert.match(said[0]!, /does not answer \(no leader\); trying again/)
    assert.match(said[1]!, /answers again/)
  })

  it('is given up after a while, with the address to mend', async () => {
    await new Promise((resolve) => server.close(resolve))
    const { registry, said, waitedMs } = registryWith({ giveUpAfterMs: 5_000 })
    await assert.rejects(registry.schemaById(7), {
      code: 'UNAVAILABLE',
      message: new RegExp(`${url} does not answer: .*ECONNREFUSED.*mend SCHEMA_REGISTRY_URL`),
    })
    assert.ok(waitedMs() >= 5_000)
    assert.equal(said.length, 1)
  })

  it('is not waited for by who was told to end', async () => {
    answers.push(away)
    const { registry, waitedMs } = registryWith({ signal: AbortSignal.abort() })
    await assert.rejects(registry.schemaById(7), { code: 'UNAVAILABLE' })
    assert.equal(waitedMs(), 0)
  })

  for (const status of [401, 403]) {
    it(`refuses credentials (${status}), which is said without them`, async () => {
      answers.push({ status, body: { message: 'who are you?' } })
      const { registry } = registryWith({ auth: { username: 'me', password: 'hush' } })
      await assert.rejects(
        registry.schemaById(7),
        (error: Error & { code: string }) =>
          error.code === 'REGISTRY_REFUSED' &&
          /who are you\?.*SCHEMA_REGISTRY_PASSWORD/.test(error.message) &&
          !error.message.includes('hush'),
      )
    })
  }

  it('is none at all: says what the address must be', async () => {
    answers.push(...Array.from({ length: 10 }, () => ({ status: 404, body: 'nothing here' })))
    const { registry } = registryWith()
    await assert.rejects(registry.register('a-value', TEXT), {
      code: 'REGISTRY_REFUSED',
      message: /There is no schema registry at .*apis\/ccompat\/v7/,
    })
  })

  it('forbids setting a level, and takes the schema all the same', async () => {
    answers.push(
      { status: 404, body: { message: 'no such schema' } },
      { status: 404, body: { message: 'no such subject' } },
      { status: 403, body: { message: 'not yours' } },
    )
    const { registry } = registryWith()
    assert.equal(await registry.register('a-value', TEXT), 7)
    assert.equal(asked.at(-1), 'POST /subjects/a-value/versions')
  })

  it('is asked once for what does not change', async () => {
    const { registry } = registryWith()
    for (let i = 0; i < 3; i++) {
      assert.equal(await registry.schemaById(7), TEXT)
      assert.equal(await registry.register('a-value', TEXT), 7)
    }
    assert.deepEqual(asked, ['GET /schemas/ids/7', 'POST /subjects/a-value'])
  })
})
