import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ByteWriter } from '../../log/batch.ts'
import { HEADER_BYTES, readSchemaId, writeHeader } from '../../schemas/wire.ts'

describe('the wire header', () => {
  it('is a zero byte and the schema id, big-endian', () => {
    const writer = new ByteWriter(1)
    writeHeader(writer, 0x01020304)
    assert.deepEqual([...writer.buffer.subarray(0, writer.position)], [0, 1, 2, 3, 4])
  })

  it('gives every id back, wherever it stands', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(10), (id, before) => {
        const writer = new ByteWriter(1)
        writer.bytes(Buffer.alloc(before, 9))
        writeHeader(writer, id)
        assert.equal(writer.position, before + HEADER_BYTES)
        assert.equal(readSchemaId(writer.buffer, before, writer.position), id)
      }),
    )
  })

  it('is missed in what something else wrote', () => {
    const json = Buffer.from('{"a":1}')
    assert.throws(() => readSchemaId(json, 0, json.length), {
      code: 'UNKNOWN_WIRE_FORMAT',
      message: /byte 123/,
    })
    assert.throws(() => readSchemaId(Buffer.alloc(9), 0, 4), {
      code: 'UNKNOWN_WIRE_FORMAT',
      message: /4 bytes/,
    })
    assert.throws(() => readSchemaId(Buffer.alloc(9), 3, 3), {
      code: 'UNKNOWN_WIRE_FORMAT',
      message: /empty/,
    })
  })
})
