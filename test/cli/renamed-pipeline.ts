import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const ORDERS = join(import.meta.dirname, '..', '..', 'pipelines', 'orders', 'index.ts')

/** The orders pipeline under a name of its own, in a file there: servers are shared with other tests. */
export function writeRenamedPipeline(directory: string): { readonly name: string; readonly file: string } {
  const name = `orders-${randomBytes(6).toString('hex')}`
  const file = join(directory, `${name}.ts`)
  writeFileSync(
    file,
    `import orders, { generators } from ${JSON.stringify(pathToFileURL(ORDERS).href)}\n` +
      `export { generators }\nexport default { ...orders, name: '${name}' }\n`,
  )
  return { name, file }
}
