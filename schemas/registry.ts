import avsc from 'avsc'
import { RegistryError } from './errors.ts'

export { RegistryError } from './errors.ts'

export interface RegisteredSchema {
  readonly id: number
  readonly avroText: string
}

/** Where writers leave their schemas and readers find them by the id in the wire header. */
export interface SchemaRegistry {
  /**
   * Registers a schema under a subject; one that the subject has already keeps its id.
   * @returns the id, the same for equal schemas under any subject
   * @throws RegistryError INCOMPATIBLE_SCHEMA when its readers could not read the subject's latest
   *   (BACKWARD), INVALID_SCHEMA when the text is no Avro schema
   */
  register(subject: string, avroText: string): Promise<number>
  /** @throws RegistryError UNKNOWN_SCHEMA */
  schemaById(id: number): Promise<string>
  /** The schema registered last under the subject, or null. */
  latest(subject: string): Promise<RegisteredSchema | null>
}

/** One registration: what the store holds. */
export interface RegistryEntry {
  readonly subject: string
  readonly id: number
  readonly avroText: string
}

/** An append-only store of registrations, read once. `append` resolves when the entry is durable. */
export interface RegistryStore {
  load(): Promise<RegistryEntry[]>
  append(entry: RegistryEntry): Promise<void>
}

interface Registrations {
  readonly texts: Map<number, string>
  /** Ids by the schema's normal form. */
  readonly ids: Map<string, number>
  /** Ids in the order of registration. */
  readonly subjects: Map<string, number[]>
}

/** The registry of the embedded setting. One process at a time, which the lock on its directory sees to. */
export class EmbeddedRegistry implements SchemaRegistry {
  readonly #store: RegistryStore
  #registrations: Promise<Registrations> | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: RegistryStore) {
    this.#store = store
  }

  register(subject: string, avroText: string): Promise<number> {
    // One after the other: two at once would be given the same next id.
    const registered = this.#last.then(() => this.#register(subject, avroText))
    this.#last = registered.catch(() => undefined)
    return registered
  }

  async #register(subject: string, avroText: string): Promise<number> {
    const normal = normalForm(subject, avroText)
    const registrations = await this.#loaded()
    const { texts, ids, subjects } = registrations
    const known = ids.get(normal)
    const versions = subjects.get(subject) ?? []
    if (known !== undefined && versions.includes(known)) return known
    const latest = versions.at(-1)
    if (latest !== undefined) checkBackward(subject, avroText, texts.get(latest)!)
    const entry = { subject, id: known ?? Math.max(0, ...texts.keys()) + 1, avroText }
    try {
      await this.#store.append(entry)
    } catch (error) {
      // Whether the entry is stored is not known: read again before the next answer.
      this.#registrations = null
      throw error
    }
    add(registrations, entry)
    return entry.id
  }

  async schemaById(id: number): Promise<string> {
    const text = (await this.#loaded()).texts.get(id)
    if (text === undefined) {
      throw new RegistryError(
        'UNKNOWN_SCHEMA',
        `The registry has no schema ${id}: the record was written against another registry. ` +
          `Use the data directory (or the registry) that its writer used.`,
      )
    }
    return text
  }

  async latest(subject: string): Promise<RegisteredSchema | null> {
    const { texts, subjects } = await this.#loaded()
    const id = subjects.get(subject)?.at(-1)
    return id === undefined ? null : { id, avroText: texts.get(id)! }
  }

  #loaded(): Promise<Registrations> {
    if (this.#registrations === null) {
      const loading = this.#store.load().then((entries) => {
        const registrations = { texts: new Map(), ids: new Map(), subjects: new Map() } as Registrations
        for (const entry of entries) add(registrations, entry)
        return registrations
      })
      // A load that failed is tried again by the next call.
      loading.catch(() => (this.#registrations = null))
      this.#registrations = loading
    }
    return this.#registrations
  }
}

function add({ texts, ids, subjects }: Registrations, { subject, id, avroText }: RegistryEntry): void {
  if (!texts.has(id)) texts.set(id, avroText)
  ids.set(normalForm(subject, avroText), id)
  const versions = subjects.get(subject) ?? []
  subjects.set(subject, [...versions.filter((version) => version !== id), id])
}

/** A text that equal schemas share, whatever their spaces and the order of their JSON keys. */
function normalForm(subject: string, avroText: string): string {
  parseAvro(subject, avroText)
  return JSON.stringify(JSON.parse(avroText), (_key, value: unknown) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}

function parseAvro(subject: string, avroText: string): avsc.Type {
  try {
    return avsc.Type.forSchema(JSON.parse(avroText) as avsc.Schema, { registry: {} })
  } catch (error) {
    throw new RegistryError(
      'INVALID_SCHEMA',
      `The schema for ${subject} is not an Avro schema: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

/** BACKWARD: readers of the new schema can read what the subject's latest schema wrote. */
function checkBackward(subject: string, avroText: string, latestText: string): void {
  const reader = parseAvro(subject, avroText)
  const writer = parseAvro(subject, latestText)
  try {
    reader.createResolver(writer)
  } catch (error) {
    const difference = differences(reader, writer).join('; ') || (error as Error).message
    throw new RegistryError(
      'INCOMPATIBLE_SCHEMA',
      `The schema for ${subject} cannot read what is written there: ${difference}. Give new fields a default ` +
        `(optional()), keep the types of the others, or write to another subject.`,
      { cause: error },
    )
  }
}

/** The record fields that a reader cannot find or read in what the writer wrote. */
function differences(reader: avsc.Type, writer: avsc.Type): string[] {
  if (reader.name !== writer.name)
    return [`it is called ${reader.name ?? '?'}, the latest ${writer.name ?? '?'}`]
  const readerFields = fieldsOf(reader)
  const writerFields = new Map(fieldsOf(writer).map((field) => [field.name, field]))
  return readerFields.flatMap((field) => {
    const written = writerFields.get(field.name)
    if (written === undefined) {
      return field.defaultValue() === undefined ? [`new field ${field.name} has no default`] : []
    }
    try {
      field.type.createResolver(written.type)
      return []
    } catch {
      return [`field ${field.name} was ${typeText(written.type)}, now ${typeText(field.type)}`]
    }
  })
}

function fieldsOf(type: avsc.Type): readonly avsc.types.Field[] {
  return type instanceof avsc.types.RecordType ? type.fields : []
}

function typeText(type: avsc.Type): string {
  const text = JSON.stringify(type.schema())
  return /^"\w+"$/.test(text) ? text.slice(1, -1) : text
}
