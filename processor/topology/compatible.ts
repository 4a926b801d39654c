import { TopologyError } from './graph.ts'
import type { TopologyDescription } from './diff.ts'

type Options = Readonly<Record<string, string>>

/** What of an edit a person should know that is accepted. */
export interface AcceptedEdit {
  readonly notes: readonly string[]
  /** For the description that is written: what was retired now and before. */
  readonly retired: Readonly<Record<string, number>>
}

/**
 * Refuses an edit that the state does not fit. What is new starts empty; so does what has a raised version.
 * @param retired what the pipeline says is gone for good
 * @throws TopologyError INCOMPATIBLE_TOPOLOGY with the differences and the ways out
 */
export function checkCompatible(
  written: TopologyDescription,
  current: TopologyDescription,
  retired: ReadonlySet<string> = new Set(),
): AcceptedEdit {
  const comparison = new Comparison(written, current, retired)
  if (comparison.differences.length > 0) {
    const lines = (texts: Iterable<string>): string => [...texts].map((text) => `\n  - ${text}`).join('')
    throw new TopologyError(
      'INCOMPATIBLE_TOPOLOGY',
      `The state of '${current.application}' was written by another topology:${lines(comparison.differences)}\n` +
        'Undo the change, or start in another directory (--data-dir; on Kafka under another name), where the input ' +
        `is processed anew.${comparison.waysOut.size === 0 ? '' : ' Or go on from here:'}${lines(comparison.waysOut)}`,
    )
  }
  return { notes: comparison.notes, retired: comparison.retired }
}

class Comparison {
  readonly differences: string[] = []
  readonly waysOut = new Set<string>()
  readonly notes: string[] = []
  readonly retired: Record<string, number>
  readonly #written: TopologyDescription
  readonly #current: TopologyDescription
  readonly #retiredNow: ReadonlySet<string>

  constructor(written: TopologyDescription, current: TopologyDescription, retiredNow: ReadonlySet<string>) {
    this.#written = written
    this.#current = current
    this.#retiredNow = retiredNow
    this.retired = { ...written.retired }
    if (written.partitions !== current.partitions) {
      this.differences.push(
        `partitions: ${written.partitions} when it was written, ${current.partitions} now`,
      )
    }
    for (const [name, before] of Object.entries(written.nodes)) this.#compare(name, before)
    this.#greetNew()
    this.#compareOutputs()
  }

  #compare(name: string, before: Options): void {
    const after = this.#current.nodes[name]
    if (after === undefined) {
      this.#gone(name, before)
      return
    }
    for (const option of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (before[option] === after[option]) continue
      this.differences.push(`'${name}' ${changeOf(option, before[option], after[option])}`)
      this.#offer(before)
    }
  }

  /** A part that its owner has no more: of an older version, retired, or missing. */
  #gone(name: string, before: Options): void {
    const owner = before['owner']!
    const version = Number(before['version'])
    const now = versionOf(this.#current, owner)
    if (now !== null && now > version) {
      this.#note(`'${owner}' begins anew as version ${now}: what version ${version} kept is let go`)
    } else if (now !== null && now < version) {
      this.#differ(`'${owner}' version: ${version} when it was written, ${now} now`)
      this.#offer(before)
    } else if (now === null && this.#retiredNow.has(owner)) {
      this.retired[owner] = version
      this.#note(`'${owner}' is retired: what it kept is let go`)
    } else {
      this.differences.push(`${before['kind']} '${name}' is gone`)
      if (now !== null) this.#offer(before)
      else
        this.waysOut.add(
          `retired: ['${owner}'] in the pipeline says that it is gone for good: what it kept is let go`,
        )
    }
  }

  /** How to go on with what is there, where that can be. */
  #offer(before: Options): void {
    const { kind, owner } = before
    const isOwn = Object.values(this.#written.nodes).some(
      (node) => node['owner'] === owner && (node['kind'] === 'source' || node['kind'] === 'merge'),
    )
    if (isOwn) return
    const isPart = Object.values(this.#written.nodes).some(
      (node) => node['owner'] === owner && (node['kind'] === 'dedupe' || node['kind']!.startsWith('window')),
    )
    this.waysOut.add(
      kind === 'repartition' && !isPart
        ? `rename '${owner}', and name the old one in retired: what is on its way in it is let go`
        : `{ version: ${Number(before['version']) + 1} } lets '${owner}' begin anew from here on: what it kept, its ` +
            'open windows among it, is let go',
    )
  }

  #greetNew(): void {
    for (const { owner, version } of Object.values(this.#current.nodes)) {
      if (versionOf(this.#written, owner!) !== null) continue
      const before = this.#written.retired[owner!]
      if (before === undefined) {
        this.#note(`'${owner}' is new: it starts with nothing`)
      } else if (Number(version) <= before) {
        this.#differ(`'${owner}' was retired at version ${before}, and is there again as version ${version}`)
        this.waysOut.add(`give '${owner}' another name, or a version above ${before}`)
      } else {
        this.#note(`'${owner}' is there again as version ${version}: it starts with nothing`)
      }
    }
  }

  #compareOutputs(): void {
    const [before, now] = [new Set(this.#written.outputs), new Set(this.#current.outputs)]
    for (const name of now.difference(before))
      this.#note(`output '${name}' is new: it gets what comes from now on`)
    for (const name of before.difference(now)) this.#note(`output '${name}' is gone: what it holds stays`)
  }

  /** The parts of one thing say it once. */
  #note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text)
  }

  #differ(text: string): void {
    if (!this.differences.includes(text)) this.differences.push(text)
  }
}

/** null: there is nothing of that name. */
function versionOf({ nodes }: TopologyDescription, owner: string): number | null {
  const part = Object.values(nodes).find((node) => node['owner'] === owner)
  return part === undefined ? null : Number(part['version'])
}

function changeOf(option: string, before = 'none', after = 'none'): string {
  if (option !== 'schema' || before === 'none' || after === 'none') {
    return `${option}: ${before} when it was written, ${after} now`
  }
  return `schema: ${schemaChange(JSON.parse(before) as Avro, JSON.parse(after) as Avro)}`
}

interface Avro {
  readonly name: string
  readonly fields: readonly { readonly name: string; readonly type: unknown }[]
}

function schemaChange(before: Avro, after: Avro): string {
  const changes: string[] = []
  if (before.name !== after.name) changes.push(`it was ${before.name} and is ${after.name}`)
  for (const { name, type } of after.fields) {
    const old = before.fields.find((field) => field.name === name)
    if (old === undefined) changes.push(`field '${name}' (${typeText(type)}) is new`)
    else if (typeText(old.type) !== typeText(type)) {
      changes.push(`field '${name}' was ${typeText(old.type)} and is ${typeText(type)}`)
    }
  }
  for (const { name, type } of before.fields) {
    if (!after.fields.some((field) => field.name === name)) {
      changes.push(`field '${name}' (${typeText(type)}) is gone`)
    }
  }
  return changes.length === 0 ? 'its fields are in another order' : changes.join(', ')
}

function typeText(type: unknown): string {
  if (Array.isArray(type)) return `optional ${typeText(type[1])}`
  return typeof type === 'string' ? type : (type as { logicalType: string }).logicalType.replace(/-.*/, '')
}
