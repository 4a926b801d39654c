export type SchemaErrorCode =
  /** A schema or contract is declared wrongly: mend the declaration. */
  | 'INVALID_SCHEMA'
  /** A text or number is no duration: mend the declaration. */
  | 'INVALID_DURATION'
  /** A value does not fit its schema: mend the function that made it. */
  | 'INVALID_VALUE'
  /** Bytes are not a record of the schema: they were damaged or written with another schema. */
  | 'MALFORMED_RECORD'
  /** A record does not begin with the registry's header: something else writes to the topic. */
  | 'UNKNOWN_WIRE_FORMAT'

export class SchemaError extends Error {
  readonly code: SchemaErrorCode

  constructor(code: SchemaErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SchemaError'
    this.code = code
  }
}

export type RegistryErrorCode =
  /** Readers of the new schema could not read what is written: change the schema or use another subject. */
  | 'INCOMPATIBLE_SCHEMA'
  /** The registry has no schema with this id: the record was written against another registry. */
  | 'UNKNOWN_SCHEMA'
  /** The text is not an Avro schema. */
  | 'INVALID_SCHEMA'
  /** The registry does not answer: try again later. */
  | 'UNAVAILABLE'
  /** The registry refuses the credentials or the request, or is none: mend the settings. */
  | 'REGISTRY_REFUSED'

export class RegistryError extends Error {
  readonly code: RegistryErrorCode

  constructor(code: RegistryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RegistryError'
    this.code = code
  }
}

/** What a value is, in the words of an error message. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Uint8Array) return 'bytes'
  if (typeof value === 'number') return Number.isFinite(value) ? 'a number' : String(value)
  if (typeof value === 'string') return 'text'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
