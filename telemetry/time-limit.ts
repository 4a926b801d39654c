/** What became of a question: its answer, its error, or neither in time. */
export type Answer<T> = { readonly value: T } | { readonly error: unknown } | { readonly late: true }

/** Asks, and waits no longer than `ms`; what comes later is dropped. Never rejects. */
export async function orLate<T>(ask: () => Promise<T> | T, ms: number): Promise<Answer<T>> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Answer<T>>((resolve) => {
    timer = setTimeout(() => resolve({ late: true }), ms)
  })
  const asked = (async (): Promise<Answer<T>> => ({ value: await ask() }))().catch(
    (error: unknown): Answer<T> => ({ error }),
  )
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again only when the last answer has come: whoever gave up waiting leaves no pile of questions behind. */
export function oneAtATime<T>(ask: () => Promise<T> | T): () => Promise<T> {
  let outstanding: Promise<T> | null = null
  return () => {
    outstanding ??= (async () => await ask())().finally(() => {
      outstanding = null
    })
    return outstanding
  }
}
