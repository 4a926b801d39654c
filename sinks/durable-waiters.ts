export interface DurableTarget {
  readonly partition: number
  readonly offset: number
}

interface Waiter {
  readonly targets: readonly DurableTarget[]
  resolve(): void
  reject(error: Error): void
}

/** Those who wait until everything below some offsets is durable. */
export class DurableWaiters {
  readonly #waiters = new Set<Waiter>()

  get isEmpty(): boolean {
    return this.#waiters.size === 0
  }

  add(targets: readonly DurableTarget[]): Promise<void> {
    return new Promise((resolve, reject) => this.#waiters.add({ targets, resolve, reject }))
  }

  /** The greatest offset that somebody waits for in a partition; 0: nobody does. */
  wanted(partition: number): number {
    let wanted = 0
    for (const { targets } of this.#waiters) {
      for (const target of targets) {
        if (target.partition === partition) wanted = Math.max(wanted, target.offset)
      }
    }
    return wanted
  }

  /** @param positionOf undefined for a partition that is not here */
  check(positionOf: (partition: number) => number | undefined): void {
    for (const waiter of this.#waiters) {
      const isDurable = waiter.targets.every(
        ({ partition, offset }) => offset === 0 || (positionOf(partition) ?? -1) >= offset,
      )
      if (!isDurable) continue
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  reject(error: Error): void {
    for (const waiter of this.#waiters) waiter.reject(error)
    this.#waiters.clear()
  }
}
