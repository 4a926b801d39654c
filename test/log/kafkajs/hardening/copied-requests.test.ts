import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { Writable } from 'node:stream'
import { writeRequest } from '../../../../log/kafkajs/hardening/copied-requests.ts'
import { produceRequest } from '../../../../log/kafkajs/requests/produce.ts'

type Create = (options: object) => Promise<{ buffer: Buffer }>
const createRequest = createRequire(import.meta.url)('kafkajs/src/protocol/request.js') as Create

describe('a request on its way to the socket', () => {
  const records = Buffer.alloc(100_000, 1)
  const { request } = produceRequest({
    transactionalId: 'id',
    timeoutMs: 1_000,
    partitions: [0, 1].map((partition) => ({ topic: 'orders', partition, records })),
  })
  const correlationId = 7
  const clientId = 'ölmühle'

  it('is copied into another buffer in KafkaJS; here records stand where they were made', async () => {
    const copied = await createRequest({ correlationId, clientId, request })
    let written: Uint8Array[] = []
    const socket = new Writable({
      writev: (chunks, done) => {
        assert.equal(written.length, 0, 'in one go')
        written = chunks.map(({ chunk }) => chunk as Uint8Array)
        done()
      },
    })
    const { apiKey, apiVersion } = request
    writeRequest(socket, { apiKey, apiVersion, correlationId, clientId }, request.encode().parts!)
    assert.deepEqual(Buffer.concat(written), copied.buffer, 'the same bytes')
    assert.notEqual(copied.buffer.buffer, records.buffer)
    assert.equal(written.filter(({ buffer }) => buffer === records.buffer).length, 2)
  })
})
