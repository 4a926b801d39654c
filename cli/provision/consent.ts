import { createInterface } from 'node:readline/promises'

export type Ask = (question: string) => Promise<boolean>

/** Asks who sits at the terminal; null where nobody does. Only y or yes is one; the end of input is a no. */
export function askOnTerminal(): Ask | null {
  const { stdin, stderr } = process
  if (!stdin.isTTY) return null
  return async (question) => {
    const terminal = createInterface({ input: stdin, output: stderr })
    try {
      const ended = new Promise<string>((resolve) => terminal.once('close', () => resolve('')))
      const answer = await Promise.race([terminal.question(question), ended])
      return /^y(es)?$/i.test(answer.trim())
    } finally {
      terminal.close()
    }
  }
}
