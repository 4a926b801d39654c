import { registerHooks } from 'node:module'
import { extname } from 'node:path'

/** What the package exports, and where it stands beside this file: as TypeScript in a checkout, else built. */
const ENTRIES = new Map(
  Object.entries({ millrace: 'index', 'millrace/testing': 'testing' }).map(([specifier, name]) => [
    specifier,
    new URL(`../../${name}${extname(import.meta.filename)}`, import.meta.url).href,
  ]),
)

let isRegistered = false

/**
 * From here on `import 'millrace'` gives the modules of the running command, whatever lies in the importer's
 * node_modules: the pipeline and what runs it are of one version, and need no build in a checkout.
 */
export function shareOwnModules(): void {
  if (isRegistered) return
  isRegistered = true
  registerHooks({
    resolve(specifier, context, next) {
      const url = ENTRIES.get(specifier)
      return url === undefined ? next(specifier, context) : { url, shortCircuit: true }
    },
  })
}

/** What `import … from 'millrace'` can name. */
export async function publicNames(): Promise<string[]> {
  return Object.keys((await import(ENTRIES.get('millrace')!)) as object)
}
