/** `npm run build`: what the package brings beside its templates, in dist/. `npm pack` runs it first. */
import { spawnSync } from 'node:child_process'
import { cpSync, globSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')
const COMPILER = join(ROOT, 'node_modules', '@typescript', 'native', 'bin', 'tsc')

/** Read at run time, or by those who want the schemas without the code. */
const ASSETS = ['processor/state/redis/lua/*.lua', 'schemas/avsc/*.avsc']

rmSync(DIST, { recursive: true, force: true })
const { status } = spawnSync(process.execPath, [COMPILER, '-p', 'tsconfig.build.json'], {
  cwd: ROOT,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
for (const asset of globSync(ASSETS, { cwd: ROOT })) cpSync(join(ROOT, asset), join(DIST, asset))
