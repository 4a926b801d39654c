/** What Node says of a module that it cannot load, in the words of somebody who writes a pipeline. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, extname, isAbsolute, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CliError, locate } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { publicNames } from './own-modules.ts'

const ENDINGS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs']

function notLoaded(message: string, options?: ErrorOptions): CliError {
  return new CliError('PIPELINE_NOT_LOADED', message, options)
}

/**
 * Refuses what cannot be a pipeline's file before Node looks at it.
 * @throws CliError PIPELINE_NOT_LOADED
 */
export function checkFile(file: string, cwd: string): void {
  const shown = placeOf(file, cwd)
  if (!existsSync(file)) {
    const directory = dirname(file)
    const others = existsSync(directory) ? readdirSync(directory) : []
    const meant = nearest(
      basename(file),
      others.filter((name) => ENDINGS.includes(extname(name))),
    )
    throw notLoaded(
      `there is no file ${shown}. ` +
        (meant === null
          ? `Check the path: it begins in ${cwd}.`
          : `Did you mean ${placeOf(join(directory, meant), cwd)}?`),
    )
  }
  if (statSync(file).isDirectory()) {
    throw notLoaded(`${shown} is a directory. Name the file in it, such as ${join(shown, 'pipeline.ts')}.`)
  }
  if (!ENDINGS.includes(extname(file))) {
    throw notLoaded(
      `${shown} is no module. A pipeline is a file that ends in .ts, .mts, .js or .mjs, and exports it by default.`,
    )
  }
}

/** A module that was loaded, and whose default export is not a pipeline. */
export function noPipeline(file: string, cwd: string, module: Readonly<Record<string, unknown>>): CliError {
  const { default: value, ...others } = module
  const names = Object.keys(others).filter((name) => name !== 'module.exports')
  const shown = placeOf(file, cwd)
  // What exports nothing at all may have been taken for CommonJS, whose default is then an empty object.
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0
  if (value === undefined || isEmpty) {
    return notLoaded(
      names.length === 0
        ? `${shown} exports nothing. It must have 'export default definePipeline({ … })'.`
        : `${shown} has no default export, only ${names.join(', ')}. Make the pipeline the default: export default …`,
    )
  }
  return notLoaded(
    `the default export of ${shown} is ${describe(value)}. It must be what definePipeline({ … }) gives.`,
  )
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value !== 'object' && typeof value !== 'function') return `a ${typeof value}`
  if (typeof value === 'function') return 'a function'
  if ('build' in value && 'sources' in value) return 'a definition that definePipeline was not called with'
  return Array.isArray(value) ? 'a list' : 'an object'
}

/**
 * An error that importing a pipeline gave, with its place, and what to do about it. One that has a code of
 * Millrace says that itself.
 */
export async function explain(error: unknown, file: string, cwd: string): Promise<Error> {
  if (!(error instanceof Error)) {
    const what = `${placeOf(file, cwd)} threw ${JSON.stringify(error)}`
    return notLoaded(`${what}. Throw an Error: it has a place.`, { cause: error })
  }
  const place = placeIn(error, file, cwd)
  const hasOwnWords = error.name === 'TopologyError' || error.name === 'SchemaError'
  if (hasOwnWords) return locate(error, place ?? placeOf(file, cwd))
  const { what, advice } = await wordsFor(error, cwd)
  return locate(notLoaded(`${what}. ${advice}`, { cause: error }), place ?? placeOf(file, cwd))
}

interface Words {
  readonly what: string
  readonly advice: string
}

const TYPES_ONLY =
  'Node runs TypeScript by leaving the types out, and this is more than a type: write it as JavaScript (an enum ' +
  'as an object, a parameter property as a field). With "erasableSyntaxOnly": true in tsconfig.json, ' +
  "'npx tsc --noEmit' finds all of them."

async function wordsFor(error: Error, cwd: string): Promise<Words> {
  const { message } = error
  const code = 'code' in error ? error.code : undefined
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return {
      what: message.replace(/ is not supported in (strip-only|type strip) mode.*$/, ' cannot be run'),
      advice: TYPES_ONLY,
    }
  }
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'ERR_UNSUPPORTED_DIR_IMPORT')
    return missingImport(error, cwd)
  if (code === 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING') {
    const path = /"(file:.*)"/.exec(message)?.[1]
    return {
      what: `${path === undefined ? 'a dependency' : placeOf(fileURLToPath(path), cwd)} is TypeScript`,
      advice:
        'Under node_modules Node runs JavaScript only: use a package that is built, or a file of your own.',
    }
  }
  if (/outside a module|Unexpected token 'export'/.test(message)) {
    return {
      what: 'the nearest package.json says that this is CommonJS',
      advice: "A pipeline is an ES module: 'npm pkg set type=module', or let the file's name end in .mts.",
    }
  }
  const missingName = /does not provide an export named '(.*)'/.exec(message)?.[1]
  if (missingName !== undefined) return await missingExport(message, missingName)
  const unknownName =
    error.name === 'ReferenceError' ? /^(\S+) is not defined$/.exec(message)?.[1] : undefined
  if (unknownName !== undefined) return await unknown(unknownName)
  const isSyntax = error.name === 'SyntaxError'
  return {
    what: `${isSyntax ? 'the file does not parse' : error.name}: ${message.replace(/\.$/, '').replaceAll('. ', '; ')}`,
    advice: isSyntax
      ? 'Mend what stands there, or just before it.'
      : "Mend it; 'npx tsc --noEmit' finds what does not fit its type, MILLRACE_DEBUG=1 shows the whole stack.",
  }
}

function missingImport(error: Error, cwd: string): Words {
  const name = /^Cannot find package '(.*?)'/.exec(error.message)?.[1]
  if (name !== undefined) {
    return { what: `the package '${name}' is not installed`, advice: `Install it: npm install ${name}` }
  }
  const url = 'url' in error && typeof error.url === 'string' ? error.url : null
  if (url === null || !url.startsWith('file:')) return { what: error.message, advice: 'Mend the import.' }
  const path = fileURLToPath(url)
  const shown = placeOf(path, cwd)
  const stem = path.slice(0, path.length - extname(path).length)
  const meant = [`${path}.ts`, `${stem}.ts`, `${stem}.mts`, join(path, 'index.ts')].find(
    (candidate) => candidate !== path && existsSync(candidate),
  )
  return {
    what: `it imports ${shown}, which is ${existsSync(path) ? 'a directory' : 'not there'}`,
    advice:
      meant === undefined
        ? 'Mend the path, or make that file.'
        : `Did you mean ${placeOf(meant, cwd)}? Node takes a file's whole name, with its ending.`,
  }
}

async function missingExport(message: string, name: string): Promise<Words> {
  const module = /^The requested module '(.*)' does/.exec(message)?.[1] ?? 'the module'
  const what = `'${module}' has no export '${name}'`
  const ofTypes = `If it is a type, import it as one: import type { ${name} } from '${module}'`
  if (module !== 'millrace') return { what, advice: `Mend the name. ${ofTypes}` }
  const meant = nearest(name, await publicNames())
  if (meant !== null) return { what, advice: `Did you mean '${meant}'?` }
  return { what, advice: /^[A-Z]/.test(name) ? ofTypes : `There are: ${(await publicNames()).join(', ')}.` }
}

async function unknown(name: string): Promise<Words> {
  const what = `'${name}' is not defined`
  const names = await publicNames()
  const meant = nearest(name, names)
  if (meant === null) return { what, advice: 'Mend the name, or import it.' }
  const slip = meant === name ? '' : `Did you mean '${meant}'? `
  return { what, advice: `${slip}Import it: import { ${meant} } from 'millrace'` }
}

/**
 * Where the fault lies, as `file:line:column`: as Node's parser says above the stack, else in the topmost frame
 * that is the user's.
 */
function placeIn(error: Error, file: string, cwd: string): string | null {
  const stack = error.stack ?? ''
  const parsed = parserPlace(stack) ?? (isPlainSyntaxError(error) ? askParser(file) : null)
  if (parsed !== null) return placeOf(pathOf(parsed.path), cwd, ...parsed.position)
  const isNodes = 'code' in error && String(error.code).startsWith('ERR_')
  const importer = isNodes ? /imported from (.*)$/m.exec(error.message)?.[1] : undefined
  if (importer !== undefined) return placeOf(importer, cwd)
  for (const [, path = '', line = '', column = ''] of stack.matchAll(FRAME)) {
    const from = pathOf(path)
    if (!ENGINE.some((folder) => from.startsWith(folder))) return placeOf(from, cwd, line, column)
  }
  return null
}

const FRAME = /^ +at (?:.*\()?(file:[^\n]+?|\/[^\n]+?|[A-Z]:\\[^\n]+?):(\d+):(\d+)\)?$/gm

/** What may stand between a pipeline and what it throws. */
const ENGINE = ['bridge', 'cli', 'processor', 'schemas', 'index.', 'testing.'].map((name) =>
  join(import.meta.dirname, '..', '..', name),
)

interface ParserPlace {
  readonly path: string
  /** The line, and the column where it is known. */
  readonly position: readonly string[]
}

/** `path:line`, a few lines of source, and below the one in question a caret, unless the file ends there. */
function parserPlace(text: string): ParserPlace | null {
  const [, path, line, source = ''] = /^(\S.*):(\d+)\n((?:(?!\S*Error).*\n)+)/.exec(text) ?? []
  if (path === undefined || line === undefined) return null
  const caret = /^( *)\^/m.exec(source)
  return { path, position: caret === null ? [line] : [line, String(caret[1]!.length + 1)] }
}

function isPlainSyntaxError(error: Error): boolean {
  return error.name === 'SyntaxError' && !('code' in error)
}

/** What was parsed as JavaScript keeps its place to itself: Node says it to who has the file checked. */
function askParser(file: string): ParserPlace | null {
  return parserPlace(spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' }).stderr)
}

function pathOf(pathOrUrl: string): string {
  return pathOrUrl.startsWith('file:') ? fileURLToPath(pathOrUrl) : pathOrUrl
}

/** As a user would write it: from the working directory where it lies there. */
function placeOf(file: string, cwd: string, ...position: readonly (string | undefined)[]): string {
  const near = relative(cwd, file)
  const isNear = near !== '' && !near.startsWith('..') && !isAbsolute(near)
  return [isNear ? `.${sep}${near}` : file, ...position].join(':')
}
