import { styleText } from 'node:util'
import type { Output } from '../io.ts'
import type { Env } from '../settings/settings.ts'

export interface Colours {
  bold(text: string): string
  dim(text: string): string
  good(text: string): string
  alarm(text: string): string
}

/**
 * FORCE_COLOR wins over NO_COLOR (https://no-color.org), as in Node; where neither is set, a terminal that can do
 * more than print gets them.
 */
export function wantsColours(output: Output, env: Env): boolean {
  const force = env['FORCE_COLOR']
  if (force !== undefined) return force !== '0' && force !== 'false'
  if ((env['NO_COLOR'] ?? '') !== '') return false
  return canRedraw(output, env)
}

/** Whether what was written can be written over. */
export function canRedraw(output: Output, env: Env): boolean {
  return output.isTTY === true && env['TERM'] !== 'dumb'
}

export function coloursFor(wanted: boolean): Colours {
  type Format = Parameters<typeof styleText>[0]
  const style = (format: Format) => (text: string) =>
    wanted && text !== '' ? styleText(format, text, { validateStream: false }) : text
  return { bold: style('bold'), dim: style('dim'), good: style('green'), alarm: style('red') }
}
