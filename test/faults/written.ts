import type { ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { until } from '../../deploy/stack/wait.ts'
import { startJava } from './java.ts'

/** How many records of a topic are committed, watched while it is written. */
export class Written {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  #count = 0

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.#child = child
    createInterface({ input: child.stdout }).on('line', (line) => (this.#count = Number(line)))
  }

  static async watch(brokers: readonly string[], topic: string, partitions: number): Promise<Written> {
    return new Written(await startJava('Count.java', [brokers.join(), topic, String(partitions)], 128))
  }

  get count(): number {
    return this.#count
  }

  /** @throws Error where nothing more was committed in that time */
  async more(timeoutMs: number): Promise<void> {
    const before = this.#count
    await until('something more is committed', async () => Promise.resolve(this.#count > before), {
      timeoutMs,
    })
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
