import { HEADER_BYTES, readSchemaId } from '../schemas/wire.ts'
import { RegistryError, type SchemaRegistry } from '../schemas/registry.ts'
import { defineFields, Schema, SchemaError, type Field, type FieldKind } from '../schemas/schema.ts'

/** Why no record with some schema id can be read. */
export interface Unreadable {
  readonly reason: string
}

/** The schemas that a topic's records were written with, by the id in their header. */
export class WriterSchemas {
  readonly #registry: SchemaRegistry
  readonly #known = new Map<number, Schema | Unreadable>()

  constructor(registry: SchemaRegistry) {
    this.#registry = registry
  }

  /** What is known of an id; undefined: `load` it first. */
  peek(id: number): Schema | Unreadable | undefined {
    return this.#known.get(id)
  }

  /**
   * Asks the registry for a schema, once. What the registry does not know or what is no record of plain
   * fields is remembered as unreadable; any other error (the registry is away) is thrown.
   */
  async load(id: number): Promise<void> {
    if (this.#known.has(id)) return
    try {
      this.#known.set(id, schemaOfAvro(await this.#registry.schemaById(id)))
    } catch (error) {
      if (!(error instanceof RegistryError || error instanceof SchemaError)) throw error
      this.#known.set(id, { reason: error.message })
    }
  }
}

/** The schema id of a value, or why it has none. */
export function schemaIdOf(buffer: Buffer, start: number, end: number): number | Unreadable {
  // The common case without a try block: zero, then the id.
  if (end - start >= HEADER_BYTES && buffer[start] === 0) return buffer.readInt32BE(start + 1)
  try {
    return readSchemaId(buffer, start, end)
  } catch (error) {
    return { reason: (error as Error).message }
  }
}

const KINDS: Readonly<Record<string, FieldKind>> = {
  string: 'string',
  double: 'double',
  long: 'long',
  int: 'int',
  boolean: 'boolean',
  bytes: 'bytes',
}

/**
 * The schema that an Avro text (as `Schema.avroText` gives it) describes.
 * @throws SchemaError INVALID_SCHEMA when it is not a record of plain and optional fields
 */
export function schemaOfAvro(avroText: string): Schema {
  const avro = parse(avroText)
  if (!isRecord(avro)) {
    throw new SchemaError(
      'INVALID_SCHEMA',
      `A table cannot be filled from what is no Avro record: ${avroText}`,
    )
  }
  const fields = Object.fromEntries(avro.fields.map((field) => [field.name, fieldOf(field)]))
  const name = avro.name.slice(avro.name.lastIndexOf('.') + 1)
  // The codec is generated code: names from outside pass the same check as declared ones.
  return new Schema(name, defineFields(name, fields))
}

interface AvroFieldLike {
  readonly name: string
  readonly type: unknown
}

function parse(avroText: string): unknown {
  try {
    return JSON.parse(avroText)
  } catch (error) {
    throw new SchemaError('INVALID_SCHEMA', `This schema is no JSON: ${avroText}`, { cause: error })
  }
}

function isRecord(avro: unknown): avro is { name: string; fields: readonly AvroFieldLike[] } {
  if (typeof avro !== 'object' || avro === null) return false
  const { type, name, fields } = avro as Record<string, unknown>
  return type === 'record' && typeof name === 'string' && Array.isArray(fields)
}

function fieldOf({ name, type }: AvroFieldLike): Field {
  const branches: readonly unknown[] = Array.isArray(type) ? (type as unknown[]) : [type]
  // The codec writes null as the first branch; a union the other way round has other bytes.
  const optional = branches.length === 2 && branches[0] === 'null'
  const kind = optional || branches.length === 1 ? kindOf(branches.at(-1)) : undefined
  if (kind === undefined) {
    throw new SchemaError(
      'INVALID_SCHEMA',
      `A table cannot be filled from field ${name}, whose Avro type is ${JSON.stringify(type)}.`,
    )
  }
  return { kind, optional, castsText: false }
}

function kindOf(type: unknown): FieldKind | undefined {
  if (typeof type === 'string') return KINDS[type]
  if (typeof type !== 'object' || type === null) return undefined
  const { type: inner, logicalType } = type as Record<string, unknown>
  if (inner === 'long' && logicalType === 'timestamp-micros') return 'timestamp'
  return typeof inner === 'string' ? KINDS[inner] : undefined
}
