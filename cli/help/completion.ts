/** Shell completion, written out from the command's own tree: flags as they are, else the shell's files. */
import type { Command, Option } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

interface Completed {
  readonly name: string
  readonly description: string
  readonly options: readonly Option[]
  /** What its first argument can be beside a file. */
  readonly words: readonly string[]
}

/**
 * A script for the shell to source.
 * @param pipelines the shipped ones
 */
export function completionScript(program: Command, shell: Shell, pipelines: readonly string[]): string {
  const help = program.createHelp()
  const commands = help.visibleCommands(program).map((command): Completed => {
    const [first] = command.registeredArguments
    const words = command.name() === 'help' ? program.commands.map((one) => one.name()) : first?.argChoices
    return {
      name: command.name(),
      description: command.description(),
      options: help.visibleOptions(command),
      words: words ?? (first?.name() === 'pipeline' ? pipelines : []),
    }
  })
  return WRITERS[shell](program.name(), commands)
}

type Write = (program: string, commands: readonly Completed[]) => string

const flagsOf = ({ options }: Completed): string[] =>
  options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined)

const bash: Write = (program, commands) => `_${program}() {
  local word=\${COMP_WORDS[COMP_CWORD]} flags= words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')}' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${commands
  .map(
    (command) =>
      `    ${command.name}) flags='${flagsOf(command).join(' ')}' words='${command.words.join(' ')}' ;;\n`,
  )
  .join('')}  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif ((COMP_CWORD == 2)); then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
}
complete -o default -F _${program} ${program}
`

const zsh: Write = (program, commands) => `#compdef ${program}
_${program}() {
  if ((CURRENT == 2)); then
    local -a commands=(
${commands.map(({ name, description }) => `      ${quoted(`${name}:${description}`)}\n`).join('')}    )
    _describe command commands
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${commands
  .map(
    ({ name, options, words }) =>
      `    ${name})\n      _arguments ${[...options.flatMap(zshOption), zshArgument(words), quoted('*:file:_files')].join(' \\\n        ')}\n      ;;\n`,
  )
  .join('')}  esac
}
if [[ $funcstack[1] == _${program} ]]; then _${program} "$@"; else compdef _${program} ${program}; fi
`

function zshOption({ short, long, description, required, optional, variadic }: Option): string[] {
  const text = description.replace(/[[\]\\]/g, '\\$&')
  const value = required || optional ? ':value:_files' : ''
  return [short, long]
    .filter((flag) => flag !== undefined)
    .map((flag) => quoted(`${variadic ? '*' : ''}${flag}[${text}]${value}`))
}

function zshArgument(words: readonly string[]): string {
  if (words.length === 0) return quoted('1:file:_files')
  return quoted(`1:name:{_alternative 'names:name:(${words.join(' ')})' 'files:file:_files'}`)
}

const fish: Write = (program, commands) =>
  commands
    .flatMap(({ name, description, options, words }) => {
      const within = `complete -c ${program} -n '__fish_seen_subcommand_from ${name}'`
      return [
        `complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(description)}`,
        ...(words.length === 0 ? [] : [`${within} -a ${fishQuoted(words.join(' '))}`]),
        ...options.map(({ short, long, description, required, optional }) =>
          [
            within,
            ...(long === undefined ? [] : ['-l', long.slice(2)]),
            ...(short === undefined ? [] : ['-s', short.slice(1)]),
            ...(required || optional ? ['-r'] : []),
            '-d',
            fishQuoted(description),
          ].join(' '),
        ),
      ]
    })
    .map((line) => `${line}\n`)
    .join('')

const WRITERS: Readonly<Record<Shell, Write>> = { bash, zsh, fish }

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function fishQuoted(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`
}
