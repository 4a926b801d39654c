/** What npm has to have brought along. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { ownVersion } from '../version.ts'
import { failure, ok, warning, type Check, type Finding } from './findings.ts'

/** With a part that is made for each platform, and what is not there without it. */
const NATIVE: Readonly<Record<string, string>> = {
  lmdb: 'the embedded log and state',
  '@duckdb/node-api': 'the tables',
  snappy: "Kafka's compression by snappy",
  'lz4-napi': "Kafka's compression by lz4",
}

/** @param load gives the module, or throws as an import does */
export function modulesCheck(load: (name: string) => Promise<unknown> = (name) => import(name)): Check {
  const name = 'installation'
  return {
    name,
    run: async () => {
      const broken: Finding[] = []
      for (const [module, use] of Object.entries(NATIVE)) {
        try {
          await load(module)
        } catch (error) {
          const [why] = (error as Error).message.split('\n')
          broken.push(
            failure(
              name,
              `${module} cannot be loaded (${why!}), and ${use} needs it`,
              `npm ci (not with --omit=optional), and where npm holds install scripts back: npm rebuild ${module}`,
            ),
          )
        }
      }
      if (broken.length > 0) return broken
      return [
        ok(name, `Millrace ${ownVersion()} on ${process.platform} ${process.arch}, with its native modules`),
      ]
    },
  }
}

/**
 * npm holds install scripts back where it is told to, and from version 12 on by itself: then the Node that the
 * repository pins is a package without a program.
 * @param root where node_modules is
 */
export function scriptsCheck(root: string): Check {
  const name = 'npm scripts'
  return {
    name,
    run: () => {
      const pinned = packageDirectory(root, 'node')
      if (pinned === null) return [ok(name, 'nothing here needs an install script')]
      const program = join(pinned, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
      if (existsSync(program)) return [ok(name, 'the install script of the pinned Node has run')]
      return [
        warning(
          name,
          `the pinned Node is not in ${dirname(program)}: npm held its install script back, and scripts run on the ` +
            `machine's Node`,
          'npm rebuild node (npm 12 and newer: npm approve-scripts node, first)',
        ),
      ]
    },
  }
}

function packageDirectory(root: string, name: string): string | null {
  try {
    return dirname(createRequire(join(root, 'package.json')).resolve(`${name}/package.json`))
  } catch {
    return null
  }
}
