type Example = readonly [line: string, does: string]

/** Of each command, by its name; empty: of the program. */
const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  '': [
    ['millrace new shop', 'a folder with a pipeline of your own'],
    ['millrace run ./pipeline.ts --input day.ndjson', 'a pipeline of your own, into ./millrace-data'],
    ['millrace run orders', 'a shipped one, on made-up orders; Ctrl+C ends it'],
    ['millrace query orders', "the pipeline's named queries"],
    ['KAFKA_BROKERS=localhost:9092 REDIS_URL=redis://localhost millrace run orders', 'on Kafka and Redis'],
  ],
  new: [
    ['millrace new shop', 'makes ./shop'],
    ['millrace new pipelines/shop', 'makes it elsewhere'],
  ],
  run: [
    ['millrace run orders', 'live, from the generator, until Ctrl+C'],
    ['millrace run ./pipeline.ts --input a.ndjson b.ndjson.gz --exit-when-done', 'files, then it ends'],
    [
      'millrace run ./shops.ts --input web=day.ndjson shop=day.csv --exit-when-done',
      'a file for each of two sources',
    ],
    ['millrace run orders --count 50000 --exit-when-done --data-dir demo', 'made-up orders, into ./demo'],
  ],
  bridge: [
    ['millrace bridge orders --input day.ndjson --exit-when-done', 'a file into the source topics'],
    ['millrace bridge orders --rate 6000', 'made-up orders, a hundred a second'],
  ],
  process: [
    ['millrace process ./pipeline.ts', 'until Ctrl+C; as many of them as you like'],
    ['millrace process orders --exit-when-done', 'ends when all that was bridged is processed'],
  ],
  sink: [
    ['millrace sink orders', 'writes the tables into ./millrace-data'],
    ['millrace sink orders --warehouse tables --exit-when-done', 'elsewhere, and ends with the input'],
  ],
  describe: [
    ['millrace describe ./pipeline.ts', 'tasks, topics and stores, as text'],
    ['millrace describe orders --mermaid', 'as a diagram'],
  ],
  generate: [
    ['millrace generate orders --count 2000 --out day.ndjson', 'a file to play with'],
    ['millrace generate orders --seed 7 --bad-share 0', 'other records, all of them valid'],
  ],
  query: [
    ['millrace query orders', 'which queries there are'],
    ['millrace query orders summary', 'one of them'],
    ['millrace query orders --sql "from dead_letters"', 'a query of your own'],
    ['millrace query orders alerts --json --data-dir demo', 'one JSON object a row'],
  ],
  status: [
    ['millrace status orders', 'all processes, what waits, where each task stands'],
    ['millrace status orders --watch', 'again every two seconds, until Ctrl+C'],
    ['millrace status orders --json --data-dir demo', 'the same for programs'],
  ],
  provision: [
    ['millrace provision orders --dry-run', 'what it would make and change'],
    ['millrace provision orders --partitions 8 --yes', 'makes it, without a question'],
  ],
  doctor: [
    ['millrace doctor', 'this machine, and the servers'],
    ['millrace doctor orders', "the pipeline's topics and rights too"],
  ],
  completion: [
    ['source <(millrace completion bash)', 'in ~/.bashrc'],
    ['source <(millrace completion zsh)', 'in ~/.zshrc, below compinit'],
    ['millrace completion fish > ~/.config/fish/completions/millrace.fish', 'once'],
  ],
}

/** A command's examples, as its help ends with them; '' for one that has none. */
export function examplesOf(command: string): string {
  const examples = EXAMPLES[command] ?? []
  if (examples.length === 0) return ''
  const width = Math.max(...examples.map(([line]) => line.length).filter((length) => length <= MAX_WIDTH))
  const lines = examples.map(([line, does]) =>
    line.length > MAX_WIDTH
      ? `  ${line}\n  ${' '.repeat(width)}  ${does}`
      : `  ${line.padEnd(width)}  ${does}`,
  )
  return `\nExamples:\n${lines.join('\n')}`
}

/** Longer lines have what they do below them, so that 100 columns are enough. */
const MAX_WIDTH = 60
