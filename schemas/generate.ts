import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Contract } from './contract.ts'
import { deadLetterSchema } from './dead-letter.ts'
import { Schema, SchemaError } from './schema.ts'

/** What a topic of the schema or contract holds: for a contract, its source records. */
function written(declared: Schema | Contract): Schema {
  return declared instanceof Contract ? declared.sourceSchema : declared
}

/** The text of a schema's `.avsc` file: one field a line. */
export function renderAvsc(declared: Schema | Contract): string {
  const { name, avro } = written(declared)
  const fields = avro.fields.map((field) => `    ${spaced(JSON.stringify(field))}`)
  return `{\n  "type": "record",\n  "name": "${name}",\n  "fields": [\n${fields.join(',\n')}\n  ]\n}\n`
}

/** One-line JSON with spaces; the names and types of a schema hold none of these signs themselves. */
function spaced(json: string): string {
  return json.replaceAll(/[:,]/g, '$& ').replaceAll('{', '{ ').replaceAll('}', ' }')
}

/**
 * Writes one `<Name>.avsc` a schema into the directory and removes those that no schema is declared for.
 *
 * @param options.check writes and removes nothing
 * @returns the files that differed, by name
 * @throws SchemaError INVALID_SCHEMA when two different schemas share a name
 */
export function checkOrWrite(
  schemas: readonly (Schema | Contract)[],
  directory: string,
  options: { readonly check: boolean },
): string[] {
  const texts = new Map<string, string>()
  for (const declared of schemas) {
    const file = `${declared.name}.avsc`
    const text = renderAvsc(declared)
    if ((texts.get(file) ?? text) !== text) {
      throw new SchemaError(
        'INVALID_SCHEMA',
        `Two different schemas are called ${declared.name}: rename one.`,
      )
    }
    texts.set(file, text)
  }
  const present = existsSync(directory) ? readdirSync(directory).filter((file) => file.endsWith('.avsc')) : []
  const superfluous = present.filter((file) => !texts.has(file))
  const differing = [...texts.keys()].filter(
    (file) => !present.includes(file) || readFileSync(join(directory, file), 'utf8') !== texts.get(file),
  )
  if (!options.check) {
    mkdirSync(directory, { recursive: true })
    for (const file of differing) writeFileSync(join(directory, file), texts.get(file)!)
    for (const file of superfluous) rmSync(join(directory, file))
  }
  return [...differing, ...superfluous].sort()
}

/** Every contract and schema that a `contract.ts` of a pipeline exports, and the envelope of dead letters. */
export async function declaredSchemas(pipelines: string): Promise<(Schema | Contract)[]> {
  const found: (Schema | Contract)[] = [deadLetterSchema]
  for (const pipeline of readdirSync(pipelines).sort()) {
    const file = join(pipelines, pipeline, 'contract.ts')
    if (!existsSync(file)) continue
    const exported = (await import(pathToFileURL(file).href)) as Record<string, unknown>
    for (const value of Object.values(exported)) {
      if (value instanceof Schema || value instanceof Contract) found.push(value)
    }
  }
  return found
}

if (process.argv[1] === import.meta.filename) {
  const check = process.argv.includes('--check')
  const directory = join(import.meta.dirname, 'avsc')
  const schemas = await declaredSchemas(join(import.meta.dirname, '..', 'pipelines'))
  const differing = checkOrWrite(schemas, directory, { check })
  for (const file of differing) console.log(`schemas/avsc/${file} ${check ? 'is out of date' : 'written'}`)
  if (check && differing.length > 0) {
    console.log('Run `npm run schemas` and commit what it writes.')
    process.exitCode = 1
  } else if (differing.length === 0) {
    console.log(`${schemas.length} schemas, all as declared.`)
  }
}
