import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** One atomic operation; what it takes and returns stands in its file's header. */
export interface Script {
  readonly name: string
  readonly sha: string
  readonly source: Buffer
}

const OURS = read('ours')

export const takeOverScript = script('take-over')
export const newIncarnationScript = script('new-incarnation')
export const applyScript = script('apply', OURS)
export const readManyScript = script('read-many', OURS)
export const scanScript = script('scan', OURS)
export const unlinkIncarnationScript = script('unlink-incarnation')
export const probeScript = script('probe')

function script(name: string, before: Buffer = Buffer.alloc(0)): Script {
  const source = Buffer.concat([before, read(name)])
  return { name, source, sha: createHash('sha1').update(source).digest('hex') }
}

function read(name: string): Buffer {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url))
}
