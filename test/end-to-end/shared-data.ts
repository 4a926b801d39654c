import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

/**
 * The months of the shared data, in order: the absolute paths of the files in ONLINE_RETAIL_DIR.
 * @throws Error where the variable is not set or names a folder without them
 */
export function sharedMonths(env: Readonly<Record<string, string | undefined>> = process.env): string[] {
  const directory = env['ONLINE_RETAIL_DIR']
  if (directory === undefined || directory === '') {
    throw new Error('ONLINE_RETAIL_DIR is not set: it names the folder with the monthly .csv.gz files.')
  }
  const names = readdirSync(directory).filter((name) => name.endsWith('.csv.gz'))
  if (names.length === 0) throw new Error(`ONLINE_RETAIL_DIR (${resolve(directory)}) has no .csv.gz file.`)
  return names.sort().map((name) => resolve(join(directory, name)))
}

/** As {@link sharedMonths}; without them the test is skipped and says so, but fails where CI is set. */
export function monthsOrSkip(test: Mocha.Context): string[] {
  try {
    return sharedMonths()
  } catch (error) {
    const { message } = error as Error
    if (isSet('CI') || isSet('REQUIRE_DATA')) assert.fail(message)
    // Nobody has to have the data, but CI does.
    console.log(`      skipped: ${message}`)
    return test.skip()
  }
}

function isSet(variable: string): boolean {
  return (process.env[variable] ?? '') !== ''
}
