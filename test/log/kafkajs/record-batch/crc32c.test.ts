import assert from 'node:assert/strict'
import fc from 'fast-check'
import { crc32c } from '../../../../log/kafkajs/record-batch/crc32c.ts'
import { kafkajs } from './kafkajs.ts'

describe('the checksum of a batch', () => {
  it('is CRC32C: the vectors of RFC 3720', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
    assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e)
    assert.equal(crc32c(Buffer.alloc(0)), 0)
  })

  it('is the same wherever the bytes begin and end in memory', () => {
    const byteAtATime = kafkajs('protocol/recordBatch/crc32C')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(20), fc.nat(20), (bytes, skip, end) => {
        const within = Buffer.concat([Buffer.alloc(skip, 1), bytes, Buffer.alloc(end, 2)])
        assert.equal(crc32c(within, skip, skip + bytes.length), byteAtATime(bytes))
      }),
    )
  })
})
