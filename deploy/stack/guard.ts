import { spawn, type ChildProcess } from 'node:child_process'

/**
 * Ends servers and removes their directories when the process that started them is gone, however it went: a
 * handler of signals or of 'exit' sees neither SIGKILL nor a crash, and would take Ctrl+C from the test runner.
 * A shell in a group of its own reads what to end from a pipe; the end of the pipe is the end of its owner.
 */
const SCRIPT = `
while read -r verb what; do
  case $verb in
    add) set -- "$@" "$what" ;;
    drop) n=$#; for entry in "$@"; do [ "$entry" = "$what" ] || set -- "$@" "$entry"; done; shift "$n" ;;
  esac
done
for entry in "$@"; do case $entry in group:*) kill -9 "-\${entry#group:}" 2>/dev/null ;; esac; done
for entry in "$@"; do case $entry in project:*) docker compose --project-name "\${entry#project:}" down --volumes --timeout 1 ;; esac; done
for entry in "$@"; do case $entry in directory:*) rm -rf -- "\${entry#directory:}" ;; esac; done
`

let guard: ChildProcess | null = null

/** Ends the process group when this process is gone, unless it is released first. */
export function guardGroup(pid: number): void {
  tell(`add group:${pid}`)
}

export function releaseGroup(pid: number): void {
  tell(`drop group:${pid}`)
}

/** Removes the containers of a compose project when this process is gone, unless it is released first. */
export function guardProject(name: string): void {
  tell(`add project:${name}`)
}

export function releaseProject(name: string): void {
  tell(`drop project:${name}`)
}

/** Removes the directory when this process is gone. */
export function guardDirectory(path: string): void {
  tell(`add directory:${path}`)
}

function tell(line: string): void {
  guard ??= start()
  guard.stdin!.write(`${line}\n`)
}

function start(): ChildProcess {
  const child = spawn('sh', ['-c', SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  // It must not keep its owner alive.
  child.unref()
  ;(child.stdin as unknown as { unref(): void }).unref()
  return child
}
