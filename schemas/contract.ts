import { generateCheck, type Check, type Rejection } from './check.ts'
import { MAX_TIMESTAMP_MS, writeTimestamp } from './codec/bytes.ts'
import { compile } from './codec/compile.ts'
import { generateView, type View, type ViewBase } from './codec/view.ts'
import { parseDurationMs, type Duration } from './duration.ts'
import { SchemaError } from './errors.ts'
import { defineFields, optional, Schema, timestamp, type Input, type Row, type Writer } from './schema.ts'
import type { FieldDefinition, FieldKind, FieldNamesOf, Fields, RowOfFields } from './fields.ts'

export type { Rejection } from './check.ts'

/** What can be a record's key: required, and the same text for the same value everywhere. */
type KeyName<F extends Fields> = FieldNamesOf<F, 'string' | 'long' | 'int', string | number>

type IdName<F extends Fields> = FieldNamesOf<F, 'string' | 'long' | 'int' | 'boolean' | 'timestamp'>

export interface ContractOptions<F extends Fields> {
  /** The fields that tell one record from a copy of it (design §4, "Identity"). */
  readonly id: readonly [IdName<F>, ...IdName<F>[]]
  /** The field whose text is the Kafka key. */
  readonly key: KeyName<F>
  /** The field that holds the event time; where a record lacks it, publish or file time stands in. */
  readonly eventTime: FieldNamesOf<F, 'timestamp'>
  /** How far behind the greatest event time so far a record of a positional source may lie (design §7). */
  readonly disorder: Duration
  /** Older events are invalid. Default `'30y'`. */
  readonly maxAge?: Duration
  /** Events further ahead of the clock are invalid. Default `'1d'`. */
  readonly maxAhead?: Duration
}

/** A view of a source record: the contract's fields, and what stands before them. */
export type SourceView<T> = View<T> & {
  readonly $eventTimeMs: number
  /** The source's watermark just before the record, epoch ms; -Infinity where it had none. */
  readonly $watermarkMs: number
  /** Where the contract's own fields begin: from here to `$end` they can be copied as they are. */
  readonly $fieldsStart: number
}

const LEADING = { _event_time: timestamp(), _watermark: optional(timestamp()) }
const LEADING_COUNT = 2
const LEADING_ROOM = 17

/** What a source accepts, and how its records are written and read. Made by {@link contract}. */
export class Contract<T = Row> {
  readonly name: string
  /** The declared fields. */
  readonly schema: Schema<T>
  /** What stands in the topic: `_event_time` and `_watermark`, then the declared fields. */
  readonly sourceSchema: Schema
  readonly id: readonly string[]
  readonly key: string
  readonly eventTime: string
  readonly disorderMs: number
  readonly maxAgeMs: number
  readonly maxAheadMs: number
  /** Whether copies share a key, hence a partition; else a dedupe repartitions by the id (design §4). */
  readonly equalIdsImplyEqualKeys: boolean
  readonly #check: Check
  readonly #View: new () => ViewBase<unknown>
  readonly #keyOf: (value: object) => string
  readonly #idOf: (value: object) => string

  constructor(name: string, fields: readonly FieldDefinition[], options: ContractOptions<Fields>) {
    this.name = name
    this.schema = new Schema(name, fields)
    this.sourceSchema = new Schema(name, [...defineFields(name, LEADING), ...fields])
    this.id = options.id
    this.key = options.key
    this.eventTime = options.eventTime
    const key = roleOf(name, fields, 'key', this.key, KEY_KINDS)
    if (key.optional) throw misdeclared(name, `the key ${this.key} has to be required: null is for marks`)
    const id = this.id.map((field) => roleOf(name, fields, 'id', field, ID_KINDS))
    if (id.length === 0)
      throw misdeclared(name, 'the id has no field: name those that tell a record from a copy')
    roleOf(name, fields, 'event time', this.eventTime, ['timestamp'])
    this.disorderMs = parseDurationMs(options.disorder, `${name}'s disorder`)
    this.maxAgeMs = parseDurationMs(options.maxAge ?? '30y', `${name}'s maxAge`)
    this.maxAheadMs = parseDurationMs(options.maxAhead ?? '1d', `${name}'s maxAhead`)
    this.equalIdsImplyEqualKeys = this.id.includes(this.key)
    this.#check = generateCheck(fields, this)
    this.#View = sourceViewClass(this.sourceSchema)
    this.#keyOf = generateKeyOf(key)
    this.#idOf = generateIdOf(id)
  }

  /**
   * Validates parsed JSON and casts it in place (text to number where the contract allows, times to epoch
   * milliseconds). Fields that are not declared are ignored. Never throws.
   *
   * @param fallbackEventTimeMs the event time where the record has none: publish or file time
   * @returns the event time in epoch milliseconds, or why the record is refused
   */
  check(json: unknown, nowMs: number, fallbackEventTimeMs: number): number | Rejection {
    return this.#check(json, nowMs, fallbackEventTimeMs)
  }

  /**
   * Writes a source record as bare Avro.
   * @param watermarkMs the source's watermark just before the record; null or -Infinity where it has none
   * @throws SchemaError INVALID_VALUE, the writer unchanged
   */
  encodeSource(writer: Writer, value: Input<T>, eventTimeMs: number, watermarkMs: number | null): void {
    const hasWatermark = watermarkMs !== null && watermarkMs !== -Infinity
    if (!isTimestamp(eventTimeMs) || (hasWatermark && !isTimestamp(watermarkMs))) {
      throw new SchemaError(
        'INVALID_VALUE',
        `${this.name} cannot be written: event time ${eventTimeMs}, watermark ${String(watermarkMs)}. ` +
          `Pass the event time that check() gave.`,
      )
    }
    const start = writer.position
    writer.ensure(LEADING_ROOM)
    const position = writeTimestamp(writer.buffer, start, eventTimeMs)
    writer.buffer[position] = hasWatermark ? 2 : 0
    writer.position = hasWatermark ? writeTimestamp(writer.buffer, position + 1, watermarkMs) : position + 1
    try {
      this.schema.encode(writer, value)
    } catch (error) {
      writer.position = start
      throw error
    }
  }

  /** A new lazy view of source records, see {@link Schema.view}. `toObject` gives the declared fields. */
  sourceView(): SourceView<T> {
    return new this.#View() as SourceView<T>
  }

  /** The record's Kafka key. */
  keyOf(value: Input<T>): string {
    return this.#keyOf(value)
  }

  /** The id's fields as one text: equal for equal ids only, null unlike the empty text. */
  idOf(value: Input<T>): string {
    return this.#idOf(value)
  }
}

/**
 * Declares what a source accepts.
 * @throws SchemaError INVALID_SCHEMA when a name cannot be one or a field its role, INVALID_DURATION
 */
export function contract<const F extends Fields>(
  name: string,
  fields: F,
  options: ContractOptions<F>,
): Contract<RowOfFields<F>> {
  return new Contract(name, defineFields(name, fields), options as unknown as ContractOptions<Fields>)
}

function isTimestamp(ms: number): boolean {
  return Math.abs(ms) <= MAX_TIMESTAMP_MS
}

const KEY_KINDS: readonly FieldKind[] = ['string', 'long', 'int']
const ID_KINDS: readonly FieldKind[] = [...KEY_KINDS, 'boolean', 'timestamp']

/** The field that is named for a role. The types say the same; this is for who writes JavaScript. */
function roleOf(
  contractName: string,
  fields: readonly FieldDefinition[],
  role: string,
  name: string,
  kinds: readonly FieldKind[],
): FieldDefinition {
  const found = fields.find((field) => field.name === name)
  if (found === undefined) {
    const names = fields.map((field) => field.name).join(', ')
    throw misdeclared(contractName, `there is no field ${name} for its ${role}. Its fields are ${names}`)
  }
  if (!kinds.includes(found.kind)) {
    throw misdeclared(
      contractName,
      `its ${role} ${name} is a ${found.kind}, and has to be one of ${kinds.join(', ')}`,
    )
  }
  return found
}

function misdeclared(contractName: string, what: string): SchemaError {
  return new SchemaError('INVALID_SCHEMA', `Contract ${contractName}: ${what}.`)
}

interface Leading {
  readonly _event_time: number
  readonly _watermark: number | null
}

function sourceViewClass(schema: Schema): new () => ViewBase<unknown> {
  const Base = generateView(schema.name, schema.fields, LEADING_COUNT) as new () => ViewBase<unknown> &
    Leading
  return class extends Base {
    get $eventTimeMs(): number {
      return this._event_time
    }

    get $watermarkMs(): number {
      return this._watermark ?? -Infinity
    }

    get $fieldsStart(): number {
      return this.$startOf(LEADING_COUNT)
    }
  }
}

function generateKeyOf({ name, kind }: FieldDefinition): (value: object) => string {
  const key = kind === 'string' ? `o.${name}` : `String(o.${name})`
  return compile(`return (o) => ${key}`, {}) as (value: object) => string
}

/** Every part but the last carries its length; null is a lone '-', which no length and no '+' begins with. */
function generateIdOf(fields: readonly FieldDefinition[]): (value: object) => string {
  const parts = fields.map(({ name, kind, optional: isOptional }, i) => {
    const isLast = i === fields.length - 1
    const text = kind === 'string' ? `o.${name}` : `String(o.${name})`
    const present = isLast ? (isOptional ? `'+' + ${text}` : text) : `${text}.length + ':' + ${text}`
    return isOptional ? `(o.${name} === null || o.${name} === undefined ? '-' : ${present})` : present
  })
  return compile(`return (o) => ${parts.join(' + ')}`, {}) as (value: object) => string
}
