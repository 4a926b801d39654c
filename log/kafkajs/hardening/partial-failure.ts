/**
 * Fault: KafkaJS gives up a send to several brokers at the first error, while the other brokers' answers are under
 * way, and then tries all of it again, with new sequence numbers: what the others had appended is there twice.
 * Where: kafkajs/src/producer/sendMessages.js (`Promise.all` over the brokers, inside the retrier).
 * Mended here: the answers of all brokers are awaited, whatever one of them says, and only what is still open is
 * sent again.
 */
export type Settled<T> =
  { readonly value: T; readonly error: null } | { readonly value: null; readonly error: unknown }

export async function settleAll<T>(calls: readonly Promise<T>[]): Promise<Settled<T>[]> {
  const settled = await Promise.allSettled(calls)
  return settled.map((outcome) =>
    outcome.status === 'fulfilled'
      ? { value: outcome.value, error: null }
      : { value: null, error: outcome.reason as unknown },
  )
}
