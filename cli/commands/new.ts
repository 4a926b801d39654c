import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { CliError } from '../errors.ts'
import type { Io } from '../io.ts'
import { ownVersion, PACKAGE_ROOT } from '../version.ts'

export interface NewArguments {
  /** The folder's path; its last part names the pipeline. */
  readonly name: string
  readonly io: Io
  /** Where this package is. Default: where it is. */
  readonly root?: string
}

const NAME = /^[a-z][a-z0-9_-]*$/

/**
 * Writes a folder with a pipeline, its input, its test, and what npm and the compiler need.
 * @throws CliError BAD_USAGE for a name that cannot be one, FILE_EXISTS, NOT_SUPPORTED in a checkout without a
 *   build; the file system's errors
 */
export function newCommand({ name: path, io, root = PACKAGE_ROOT }: NewArguments): void {
  const folder = resolve(io.cwd, path)
  const name = basename(folder)
  if (!NAME.test(name)) {
    throw new CliError(
      'BAD_USAGE',
      `'${name}' cannot name a pipeline. Use lower-case letters, digits, '-' and '_', such as my-pipeline.`,
    )
  }
  const files = filesFor(join(root, 'templates', 'pipeline'), name, dependencyOn(root, folder))
  const taken = files.find(({ path }) => existsSync(join(folder, path)))
  if (taken !== undefined) {
    throw new CliError(
      'FILE_EXISTS',
      `${join(path, taken.path)} is there already, so nothing was written. Choose another name, or remove it.`,
    )
  }
  for (const { path, content } of files) {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content, { flag: 'wx' })
  }
  const written = files.map(({ path }) => path).sort()
  io.stdout.write(`${folder}: ${written.join(', ')}\n\nNext:\n${nextSteps(relative(io.cwd, folder))}`)
}

function nextSteps(folder: string): string {
  const steps = [
    ...(folder === '' ? [] : [`cd ${folder}`]),
    'npm install',
    'npx millrace run ./pipeline.ts --exit-when-done',
    'npx millrace query ./pipeline.ts hourly',
    'npm test',
  ]
  return steps.map((step) => `  ${step}\n`).join('')
}

interface NewFile {
  readonly path: string
  readonly content: string
}

/** The template's files. Those that npm, git or the compiler would take for ours begin with an underscore there. */
function filesFor(template: string, name: string, dependency: string): NewFile[] {
  const entries = readdirSync(template, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = join(entry.parentPath, entry.name)
      const path = relative(template, file).replace('_gitignore', '.gitignore').replace(/^_/, '')
      return { path, content: adapted(path, readFileSync(file, 'utf8'), name, dependency) }
    })
}

function adapted(path: string, content: string, name: string, dependency: string): string {
  switch (path) {
    case 'pipeline.ts':
      return content.replace("name: 'shop'", `name: '${name}'`)
    case 'README.md':
      return content.replace('# shop', `# ${name}`)
    case 'package.json': {
      const manifest = JSON.parse(content) as { dependencies: object }
      const dependencies = { ...manifest.dependencies, millrace: dependency }
      return `${JSON.stringify({ ...manifest, name, dependencies }, null, 2)}\n`
    }
    default:
      return content
  }
}

/**
 * What `npm install` gets this package by, as it came here itself: from the same archive, from this checkout,
 * or by its version.
 * @throws CliError NOT_SUPPORTED
 */
function dependencyOn(root: string, folder: string): string {
  const fileOf = (path: string): string => `file:${relative(folder, path)}`
  if (existsSync(join(root, 'cli', 'main.ts'))) {
    if (existsSync(join(root, 'dist', 'index.js'))) return fileOf(root)
    throw new CliError(
      'NOT_SUPPORTED',
      `the checkout ${root} is not built, and the new folder would import it. Run 'npm run build' there.`,
    )
  }
  const archive = installedFrom(root)
  return archive === null ? `^${ownVersion()}` : fileOf(archive)
}

/** The archive that npm says it has unpacked here, if it is still there. */
function installedFrom(root: string): string | null {
  const modules = dirname(root)
  const lock = join(modules, '.package-lock.json')
  if (!existsSync(lock)) return null
  const { packages } = JSON.parse(readFileSync(lock, 'utf8')) as {
    packages?: Readonly<Record<string, { resolved?: string }>>
  }
  const resolved = packages?.['node_modules/millrace']?.resolved
  if (resolved?.startsWith('file:') !== true) return null
  const archive = resolve(dirname(modules), resolved.slice('file:'.length))
  return existsSync(archive) ? archive : null
}
