import type { ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { until } from '../../deploy/stack/wait.ts'
import { startJava } from './java.ts'

/** How many records of a topic are committed, watched while it is written. */
export class Written {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  #count = 0
  #said = ''

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.#child = child
    createInterface({ input: child.stdout }).on('line', (line) => (this.#count = Number(line)))
    child.stderr.on('data', (text: Buffer) => (this.#said = (this.#said + text.toString()).slice(-2_000)))
  }

  static async watch(brokers: readonly string[], topic: string, partitions: number): Promise<Written> {
    return new Written(await startJava('Count.java', [brokers.join(), topic, String(partitions)], 128))
  }

  get count(): number {
    return this.#count
  }

  /** @throws Error where nothing more was committed in that time, or nobody counts any more */
  async more(timeoutMs: number): Promise<void> {
    const before = this.#count
    const isMore = async (): Promise<boolean> => {
      if (this.#child.exitCode !== null) throw new Error(`who counts has ended:\n${this.#said}`)
      return Promise.resolve(this.#count > before)
    }
    await until('something more is committed', isMore, { timeoutMs })
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
