import avsc from 'avsc'
import { RegistryError } from '../errors.ts'

/** A text that equal schemas share, whatever their spaces and the order of their JSON keys. */
export function normalForm(subject: string, avroText: string): string {
  parseAvro(subject, avroText)
  return JSON.stringify(JSON.parse(avroText), (_key, value: unknown) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}

export function parseAvro(subject: string, avroText: string): avsc.Type {
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
export function checkBackward(subject: string, avroText: string, latestText: string): void {
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
