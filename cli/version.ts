import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname } from 'node:path'

/** Where this package begins: the checkout, or its folder in somebody's node_modules. */
export const PACKAGE_ROOT = dirname(findPackageJSON(import.meta.url)!)

/** Of the package. */
export function ownVersion(): string {
  const manifest = readFileSync(`${PACKAGE_ROOT}/package.json`, 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
