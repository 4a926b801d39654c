/** Reads topics with Java's own client and Avro's own library: nothing of the engine is imported here. */
import avro from 'avsc'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { startJava } from './java.ts'

const SCHEMAS = '_millrace-schemas'
const HEADER_BYTES = 5
const LONGEST_MS = 300_000

export interface DumpedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** About time, not about data. */
  readonly mark: boolean
  readonly key: Buffer | null
  readonly value: Buffer | null
}

export interface Dumped {
  readonly records: readonly DumpedRecord[]
  /** Partitions in which a transaction was open when they were read, as `topic-partition`. */
  readonly open: readonly string[]
}

interface Line {
  readonly topic: string
  readonly partition: number
  readonly offset?: number
  readonly mark: boolean
  readonly key: string | null
  readonly value: string | null
  readonly stable: number
  readonly end: number
}

/** All that a reader at read_committed sees of these topics. @throws Error where Java's client fails */
export async function dump(brokers: readonly string[], topics: readonly string[]): Promise<Dumped> {
  const child = await startJava('Dump.java', [brokers.join(), ...topics], 512)
  const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_MS)
  let said = ''
  child.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-2_000)))
  const ended = once(child, 'close')
  const records: DumpedRecord[] = []
  const open: string[] = []
  for await (const text of createInterface({ input: child.stdout })) {
    const { topic, partition, offset, mark, key, value, stable, end } = JSON.parse(text) as Line
    if (offset === undefined) {
      if (stable < end) open.push(`${topic}-${partition}`)
    } else {
      records.push({ topic, partition, offset, mark, key: bytesOf(key), value: bytesOf(value) })
    }
  }
  const [code] = (await ended) as [number | null]
  clearTimeout(timer)
  if (code !== 0) throw new Error(`reading ${topics.join(', ')} with Java's client failed:\n${said}`)
  return { records, open }
}

/** Decodes values by the schemas that their writers registered. */
export class Decoder {
  readonly #types = new Map<number, avro.Type>()

  /** @param schemas the records of the topic in which a registry without a server is kept */
  constructor(schemas: readonly DumpedRecord[]) {
    let count = 0
    for (const { value } of schemas) {
      const entry = JSON.parse(value!.toString()) as { id: number; avroText: string; after?: number }
      // Of two that registered at once the second did not know of the first: it does not count.
      if (entry.after !== undefined && entry.after !== count) continue
      count++
      const schema = JSON.parse(entry.avroText) as avro.Schema
      this.#types.set(entry.id, avro.Type.forSchema(schema))
    }
  }

  static async open(brokers: readonly string[]): Promise<Decoder> {
    return new Decoder((await dump(brokers, [SCHEMAS])).records)
  }

  /** @throws Error where the bytes are none of a registered schema */
  decode({ topic, partition, offset, value }: DumpedRecord): Record<string, unknown> {
    const at = `${topic}-${partition} at ${offset}`
    if (value === null || value.length < HEADER_BYTES || value[0] !== 0)
      throw new Error(`${at}: no Avro record`)
    const id = value.readInt32BE(1)
    const type = this.#types.get(id)
    if (type === undefined) throw new Error(`${at}: nobody registered the schema ${id}`)
    return type.fromBuffer(value.subarray(HEADER_BYTES)) as Record<string, unknown>
  }
}

function bytesOf(base64: string | null): Buffer | null {
  return base64 === null ? null : Buffer.from(base64, 'base64')
}
