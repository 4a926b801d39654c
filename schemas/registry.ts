import { RegistryError } from './errors.ts'
import { checkBackward, normalForm } from './registry/compatibility.ts'

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

/** An append-only store of registrations; several registries may append to it. */
export interface RegistryStore {
  /** All that there are by now, in their order. */
  load(): Promise<RegistryEntry[]>
  /**
   * Resolves when the entry is durable.
   * @throws Overtaken when others have registered something since the last `load`: this entry does not count
   */
  append(entry: RegistryEntry): Promise<void>
}

/** An append that was judged by what is no longer the latest: load again, judge again. */
export class Overtaken extends Error {
  constructor() {
    super('another process has registered a schema meanwhile')
    this.name = 'Overtaken'
  }
}

interface Registrations {
  readonly texts: Map<number, string>
  /** Ids by the schema's normal form. */
  readonly ids: Map<string, number>
  /** Ids in the order of registration. */
  readonly subjects: Map<string, number[]>
}

/** The registry that needs no server: its registrations are embedded in the log that they describe. */
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
    for (;;) {
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
        // Every turn of this loop is a registration that another process has made.
        if (error instanceof Overtaken) continue
        throw error
      }
      add(registrations, entry)
      return entry.id
    }
  }

  async schemaById(id: number): Promise<string> {
    const text = (await this.#loaded()).texts.get(id) ?? (await this.#refreshed()).texts.get(id)
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
    const { texts, subjects } = await this.#refreshed()
    const id = subjects.get(subject)?.at(-1)
    return id === undefined ? null : { id, avroText: texts.get(id)! }
  }

  /** With what other processes have registered since. */
  #refreshed(): Promise<Registrations> {
    this.#registrations = null
    return this.#loaded()
  }

  #loaded(): Promise<Registrations> {
    if (this.#registrations === null) {
      const loading = this.#store.load().then((entries) => {
        const registrations: Registrations = { texts: new Map(), ids: new Map(), subjects: new Map() }
        for (const entry of entries) add(registrations, entry)
        return registrations
      })
      // A load that failed is tried again by the next call.
      loading.catch(() => {
        if (this.#registrations === loading) this.#registrations = null
      })
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
