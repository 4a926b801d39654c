import { BatchBuilder } from '../../log/batch.ts'

/** By partition number; a partition that nothing was written to has none. */
type Partitions = (BatchBuilder | undefined)[]

/** What a process has to send with its next commit: one builder a topic and partition, shared by its tasks. */
export class Outputs {
  #builders = new Map<string, Partitions>()
  #spare = new Map<string, Partitions>()

  builder(topic: string, partition: number): BatchBuilder {
    let partitions = this.#builders.get(topic)
    if (partitions === undefined) this.#builders.set(topic, (partitions = []))
    return (partitions[partition] ??= new BatchBuilder(topic, partition))
  }

  get bytes(): number {
    let total = 0
    for (const partitions of this.#builders.values()) {
      for (const builder of partitions) if (builder !== undefined) total += builder.byteLength
    }
    return total
  }

  /** Commit step 1: what there is to send; what follows goes into other builders. */
  freeze(): BatchBuilder[] {
    const frozen = this.#builders
    this.#builders = this.#spare
    this.#spare = frozen
    return nonEmpty(frozen)
  }

  /** Commit step 6: the frozen builders can be filled again. */
  release(): void {
    for (const builder of nonEmpty(this.#spare)) builder.clear()
  }

  clear(): void {
    this.#builders = new Map()
    this.#spare = new Map()
  }
}

function nonEmpty(builders: Map<string, Partitions>): BatchBuilder[] {
  return [...builders.values()].flatMap((partitions) =>
    partitions.filter((builder): builder is BatchBuilder => (builder?.count ?? 0) > 0),
  )
}
