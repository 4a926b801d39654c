import avro, { type Type } from 'avsc'

const DAY_MS = 86_400_000

interface LongOptions {
  readonly noUnpack?: boolean
  fromBuffer(bytes: Buffer): unknown
  toBuffer(value: unknown): Buffer
  fromJSON(json: unknown): unknown
  toJSON(value: unknown): unknown
  isValid(value: unknown): boolean
  compare(a: number, b: number): number
}

const { LongType, LogicalType } = avro.types as unknown as {
  readonly LongType: { __with(options: LongOptions): Type }
  readonly LogicalType: new (schema: object, options: object) => object
}

function readOnly(): never {
  throw new Error('Avro files are read and not written here')
}

/** Numbers, also where they are not safe: the contract refuses those, and avsc would give up the file. */
export const longType: Type = LongType.__with({
  fromBuffer: (bytes) => Number(bytes.readBigInt64LE()),
  toBuffer: readOnly,
  fromJSON: Number,
  toJSON: Number,
  isValid: (value) => typeof value === 'number',
  compare: (a, b) => a - b,
})

/** What a logical type's value is to a contract: times as epoch milliseconds, decimals as numbers. */
function read(convert: (value: never, schema: { readonly scale?: number }) => number): unknown {
  return class extends LogicalType {
    readonly #schema: { readonly scale?: number }

    constructor(schema: object, options: object) {
      super(schema, options)
      this.#schema = schema
    }

    _fromValue(value: never): number {
      return convert(value, this.#schema)
    }

    _toValue(): never {
      return readOnly()
    }
  }
}

const micros = read((value: number) => value / 1_000)
const nanos = read((value: number) => value / 1_000_000)

const LOGICAL_TYPES = {
  'timestamp-micros': micros,
  'local-timestamp-micros': micros,
  'timestamp-nanos': nanos,
  'local-timestamp-nanos': nanos,
  date: read((days: number) => days * DAY_MS),
  decimal: read((bytes: Buffer, { scale = 0 }) => decimalOf(bytes, scale)),
}

/** @throws Error when it is no schema of records */
export function recordTypeOf(schemaText: string): Type {
  const type = avro.Type.forSchema(
    JSON.parse(schemaText) as never,
    { registry: { long: longType }, logicalTypes: LOGICAL_TYPES } as never,
  )
  if ((type as unknown as { typeName: string }).typeName !== 'record') {
    throw new Error('it describes no records')
  }
  return type
}

/** The nearest double of a two's complement number with that many digits behind the point. */
function decimalOf(bytes: Buffer, scale: number): number {
  if (bytes.length === 0) return 0
  const units = BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
  return Number(`${units}e-${scale}`)
}
