import type { Client } from './client.ts'

/**
 * For the leader of a group: tells when a topic that it shared out has more partitions than then. A broker answers
 * from what it has heard so far, and a topic may grow at any time; nobody else would notice. Fewer are an old answer,
 * or those of another topic, which has another id.
 */
export class PartitionWatch {
  readonly #client: Client
  readonly #intervalMs: number
  readonly #onChange: () => void
  #timer: NodeJS.Timeout | null = null

  constructor(client: Client, intervalMs: number, onChange: () => void) {
    this.#client = client
    this.#intervalMs = intervalMs
    this.#onChange = onChange
  }

  /** Until a change, or {@link stop}. */
  start(counts: ReadonlyMap<string, number>): void {
    this.stop()
    const timer = setInterval(() => {
      void this.#hasChanged(counts).then((hasChanged) => {
        if (!hasChanged || this.#timer !== timer) return
        this.stop()
        this.#onChange()
      })
    }, this.#intervalMs)
    this.#timer = timer
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  async #hasChanged(counts: ReadonlyMap<string, number>): Promise<boolean> {
    try {
      const topics = await this.#client.topics([...counts.keys()])
      return topics.some(({ name, partitions }) => partitions.length > counts.get(name)!)
    } catch {
      // Not to be reached, or a topic is gone: whoever reads it says so. Asked again at the next turn.
      return false
    }
  }
}
