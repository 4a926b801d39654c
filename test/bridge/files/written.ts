import { DuckDBInstance } from '@duckdb/node-api'
import avro from 'avsc'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { crc32 } from 'node:zlib'
import { compressSync } from 'snappy'

/** An order as the formats hold it. */
export interface Row {
  readonly order_id: string
  readonly customer_id: string
  readonly amount: number
  readonly note: string | null
}

export function csvOf(
  rows: readonly Row[],
  {
    delimiter = ',',
    newline = '\n',
    last = newline,
  }: { delimiter?: string; newline?: string; last?: string } = {},
): string {
  const quoted = (text: string): string =>
    /["\r\n]/.test(text) || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text
  const lines = rows.map(({ order_id, customer_id, amount, note }) =>
    [order_id, customer_id, String(amount), note ?? ''].map(quoted).join(delimiter),
  )
  return [['order_id', 'customer_id', 'amount', 'note'].join(delimiter), ...lines].join(newline) + last
}

const AVRO_SCHEMA = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'order_id', type: 'string' },
    { name: 'customer_id', type: 'string' },
    { name: 'amount', type: 'double' },
    { name: 'note', type: ['null', 'string'], default: null },
  ],
}

type Callback = (error: Error | null, bytes?: Buffer) => void

function snappyBlock(block: Buffer, done: Callback): void {
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(crc32(block))
  done(null, Buffer.concat([compressSync(block), checksum]))
}

/** @param codec `null`, `deflate` or `snappy` */
export async function writeAvro(
  path: string,
  rows: readonly object[],
  { codec = 'null', blockSize = 1 << 16, schema = AVRO_SCHEMA as object } = {},
): Promise<void> {
  const encoder = new avro.streams.BlockEncoder(
    schema as never,
    {
      codec,
      blockSize,
      codecs: { ...avro.streams.BlockEncoder.defaultCodecs(), snappy: snappyBlock },
    } as never,
  )
  const file = createWriteStream(path)
  encoder.pipe(file)
  for (const row of rows) encoder.write(row)
  encoder.end()
  await once(file, 'close')
}

function escaped(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** @param select what is written, such as `from range(10)` */
export async function writeParquet(path: string, select: string, options = ''): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  try {
    const connection = await instance.connect()
    await connection.run(`copy (${select}) to ${escaped(path)} (format parquet${options})`)
  } finally {
    instance.closeSync()
  }
}

export function selectOf(rows: readonly Row[]): string {
  const values = rows.map(({ order_id, customer_id, amount, note }) => {
    const texts = [order_id, customer_id].map(escaped)
    return `(${texts.join(', ')}, ${amount}::double, ${note === null ? 'null' : escaped(note)})`
  })
  return `from (values ${values.join(', ')}) t(order_id, customer_id, amount, note)`
}
