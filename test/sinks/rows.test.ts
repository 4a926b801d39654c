import assert from 'node:assert/strict'
import { long, optional, schema, string } from '../../schemas/schema.ts'
import type { RowBatch } from '../../sinks/port.ts'
import { decodeRows } from '../../sinks/rows.ts'
import { MemoryDestination } from './memory-destination.ts'
import { header, SinkBench } from './support.ts'

const wider = schema('Thing', { id: long(), name: optional(string()) })

describe('rows as objects', () => {
  it('are given all or not at all', async () => {
    const bench = await SinkBench.create()
    await bench.produce(wider, [{ id: 1, name: 'one' }])
    await bench.produceRaw(Buffer.concat([header(await bench.schemaId(wider)), Buffer.from([2, 5])]))
    await bench.produce(wider, [{ id: 3 }])
    const sink = new MemoryDestination().sink({ keepsPositions: false })
    const batches: RowBatch[] = []
    sink.write = (batch) => {
      batches.push(batch)
      return Promise.resolve(null)
    }
    await bench.drained(bench.start(sink))
    const [batch] = batches
    assert.equal(batch!.count, 3)
    assert.throws(
      () => decodeRows('alerts', batch!, (row) => row),
      (error: unknown) => {
        const { rows } = error as { rows: { index: number }[] }
        return rows.length === 1 && rows[0]!.index === 1
      },
    )
    await bench.close()
  })
})
