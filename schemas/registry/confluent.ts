/** The registry as a server of its own, which speaks Confluent's API: Confluent's, Apicurio (ccompat), Karapace. */
import createClient from '@kafkajs/confluent-schema-registry/dist/api/index.js'
import { Backoff } from '../../config/backoff.ts'
import { systemClock, systemTimer, type Clock, type Timer } from '../../config/clock.ts'
import { RegistryError } from '../errors.ts'
import type { RegisteredSchema, SchemaRegistry } from '../registry.ts'
import { checkBackward, parseAvro } from './compatibility.ts'

export interface ConfluentRegistryOptions {
  /** The root of the API, without a slash at the end and without credentials. */
  readonly url: string
  readonly auth?: { readonly username: string; readonly password: string }
  /** Of one request. Default 5,000. */
  readonly requestTimeoutMs?: number
  /** A server that is away is asked again for so long. Default 60,000. */
  readonly giveUpAfterMs?: number
  /** Ends the waiting for a server that is away. */
  readonly signal?: AbortSignal
  readonly clock?: Clock
  readonly timer?: Timer
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number
  /** Told once when the server is away, and once when it is back. */
  readonly report?: (message: string) => void
}

type Client = ReturnType<typeof createClient.default>

interface Response {
  data(): unknown
}

const COMPATIBILITY = 'BACKWARD'

/** The client shows a server that cannot be reached as an answer with status 400. */
const UNREACHABLE =
  /ECONN|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EPIPE|socket hang up|Timeout/
const MAX_SAID = 500

export class ConfluentRegistry implements SchemaRegistry {
  readonly #client: Client
  readonly #options: Required<Omit<ConfluentRegistryOptions, 'auth' | 'signal' | 'report'>>
  readonly #signal: AbortSignal | undefined
  readonly #report: (message: string) => void
  /** An id stands for one schema for ever, and so does a schema for its id under a subject. */
  readonly #texts = new Map<number, string>()
  readonly #ids = new Map<string, number>()
  #isAway = false

  constructor(options: ConfluentRegistryOptions) {
    this.#options = {
      requestTimeoutMs: 5_000,
      giveUpAfterMs: 60_000,
      clock: systemClock,
      timer: systemTimer,
      random: Math.random,
      ...options,
    }
    this.#signal = options.signal
    this.#report = options.report ?? ((): void => {})
    this.#client = createClient.default({
      host: options.url,
      clientId: 'millrace',
      ...(options.auth && { auth: options.auth }),
      // Tries again here, so that it can be said, and for every kind of request.
      retry: { retries: 0 },
    })
  }

  async register(subject: string, avroText: string): Promise<number> {
    parseAvro(subject, avroText)
    const schema = JSON.stringify(JSON.parse(avroText))
    const key = `${subject}\n${schema}`
    const id = this.#ids.get(key) ?? (await this.#find(subject, schema)) ?? (await this.#add(subject, schema))
    this.#ids.set(key, id)
    return id
  }

  async schemaById(id: number): Promise<string> {
    const known = this.#texts.get(id)
    if (known !== undefined) return known
    const found = await this.#ask(`schema ${id}`, (timeout) => this.#client.Schema.find({ id, timeout }))
    if (found === null) {
      throw new RegistryError(
        'UNKNOWN_SCHEMA',
        `The schema registry at ${this.#options.url} has no schema ${id}: the record was written against another ` +
          `registry. Use the one that its writer used.`,
      )
    }
    const { schema } = found as { schema: string }
    this.#texts.set(id, schema)
    return schema
  }

  async latest(subject: string): Promise<RegisteredSchema | null> {
    const found = await this.#ask(subject, (timeout) =>
      this.#client.Subject.latestVersion({ subject, timeout }),
    )
    if (found === null) return null
    const { id, schema } = found as { id: number; schema: string }
    return { id, avroText: schema }
  }

  /** The id that the subject has for the schema already, or null. */
  async #find(subject: string, schema: string): Promise<number | null> {
    const found = await this.#ask(subject, (timeout) =>
      this.#client.Subject.registered({ subject, body: { schema }, timeout }),
    )
    return found === null ? null : (found as { id: number }).id
  }

  async #add(subject: string, schema: string): Promise<number> {
    const latest = await this.latest(subject)
    // Judged here first, whatever the server is set to: its own refusal seldom names the field.
    if (latest !== null) checkBackward(subject, schema, latest.avroText)
    await this.#setCompatibility(subject)
    const added = await this.#ask(subject, (timeout) =>
      this.#client.Subject.register({ subject, body: { schema }, timeout }),
    )
    if (added !== null) return (added as { id: number }).id
    throw new RegistryError(
      'REGISTRY_REFUSED',
      `There is no schema registry at ${this.#options.url}: it knows no way to register ${subject}. ${ROOT_ADVICE}`,
    )
  }

  /** A subject without a level of its own gets BACKWARD before its first schema: a server's default may be NONE. */
  async #setCompatibility(subject: string): Promise<void> {
    const { Subject } = this.#client
    try {
      if ((await this.#ask(subject, (timeout) => Subject.config({ subject, timeout }))) !== null) return
      const body = { compatibility: COMPATIBILITY }
      await this.#ask(subject, (timeout) => Subject.updateConfig({ subject, body, timeout }))
    } catch (error) {
      // Levels may be its administrators' own, or another process sets it right now (Apicurio: 409); that
      // readers can read is checked here in any case.
      if (!(error instanceof RegistryError) || error.code === 'UNAVAILABLE') throw error
    }
  }

  /**
   * One request, repeated while the server is away.
   * @param what it is about, for an error
   * @returns the body, or null where the server says that there is no such thing
   */
  async #ask(what: string, request: (timeout: number) => unknown): Promise<unknown> {
    const { clock, timer, random, requestTimeoutMs, giveUpAfterMs, url } = this.#options
    const backoff = new Backoff({ random })
    const deadlineMs = clock.nowMs() + giveUpAfterMs
    for (;;) {
      try {
        const response = (await request(requestTimeoutMs)) as Response
        this.#isBack()
        return response.data()
      } catch (error) {
        const { status, message } = error as { status?: number; message: string }
        if (status === undefined) throw error
        const said = withoutClient(message)
        if (!isPassing(status, said)) {
          this.#isBack()
          if (status === 404) return null
          throw refusal(what, url, status, said)
        }
        if (!this.#isAway) {
          this.#isAway = true
          this.#report(`The schema registry at ${url} does not answer (${said}); trying again.`)
        }
        if (clock.nowMs() >= deadlineMs || this.#signal?.aborted === true) {
          throw new RegistryError(
            'UNAVAILABLE',
            `The schema registry at ${url} does not answer: ${said}. Start it, or mend SCHEMA_REGISTRY_URL.`,
            { cause: error },
          )
        }
        await timer.sleep(backoff.nextMs(), this.#signal)
      }
    }
  }

  #isBack(): void {
    if (!this.#isAway) return
    this.#isAway = false
    this.#report(`The schema registry at ${this.#options.url} answers again.`)
  }
}

const ROOT_ADVICE =
  "SCHEMA_REGISTRY_URL must be the root of Confluent's API (Apicurio has it at …/apis/ccompat/v7)."

function isPassing(status: number, said: string): boolean {
  return status >= 500 || status === 408 || status === 429 || (status === 400 && UNREACHABLE.test(said))
}

/** What the client puts in front is its own name. */
function withoutClient(message: string): string {
  const said = message.replace(/^millrace - /, '')
  return said.length > MAX_SAID ? `${said.slice(0, MAX_SAID)}…` : said
}

function refusal(what: string, url: string, status: number, said: string): RegistryError {
  if (status === 401 || status === 403) {
    return new RegistryError(
      'REGISTRY_REFUSED',
      `The schema registry at ${url} refuses the credentials, or what they may do with ${what}: ${said}. ` +
        `SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD name them.`,
    )
  }
  if (status === 409) {
    return new RegistryError(
      'INCOMPATIBLE_SCHEMA',
      `The schema registry refuses the schema for ${what}: ${said}. Give new fields a default (optional()), keep ` +
        `the types of the others, or write to another subject.`,
    )
  }
  if (status === 422) {
    return new RegistryError('INVALID_SCHEMA', `The schema registry refuses the schema for ${what}: ${said}.`)
  }
  return new RegistryError(
    'REGISTRY_REFUSED',
    `The schema registry at ${url} answers with status ${status} when asked for ${what}: ${said}. ${ROOT_ADVICE}`,
  )
}
