import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { millrace } from '../support.ts'

const help = async (...args: readonly string[]): Promise<string> =>
  (await millrace([...args, '--help'], { cwd: tmpdir() })).stdout

/** The command lines among the examples that a help ends with. */
function examplesIn(text: string): string[] {
  const [, examples = ''] = text.split('\nExamples:\n')
  return [...examples.matchAll(/\bmillrace ([a-z]+(?: \S+)*?)(?=\)|  |\n|$)/g)].map(([, line]) => line!)
}

describe('--help', () => {
  it('ends with examples, for each command, that the command would take', async () => {
    const commands = [...(await help()).matchAll(/^ {2}([a-z]+) .*[<[]/gm)].map(([, name]) => name!)
    assert.ok(commands.includes('new') && commands.includes('completion'), commands.join())
    for (const command of commands.filter((name) => name !== 'help')) {
      const text = await help(command)
      const own = examplesIn(text).filter((line) => line.startsWith(`${command} `) || line === command)
      assert.ok(own.length > 0, `${command} has no example`)
      for (const line of own) {
        const flags = line.match(/(?<= )--[a-z-]+/g) ?? []
        for (const flag of flags) assert.match(text.split('Examples:')[0]!, new RegExp(`${flag}\\b`), line)
      }
    }
  })

  it('of the program shows commands that there are', async () => {
    const text = await help()
    const examples = examplesIn(text)
    assert.ok(examples.length >= 5)
    for (const line of examples) assert.match(text, new RegExp(`^  ${line.split(' ')[0]!} `, 'm'))
  })
})
