/**
 * The arrows of the design (§2): cli → pipelines → (bridge, processor, sinks) → (schemas, log) → nothing;
 * config/ and telemetry/ may be imported by all. test/ and bench/ stand outside and may import everything.
 */
const only = (name, importer, target, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { pathNot: [importer, '^(test|bench)/', '^node_modules/'] },
  to: { path: target },
})

const never = (name, from, to, comment) => ({ name, severity: 'error', comment, from: { path: from }, to })

module.exports = {
  forbidden: [
    never(
      'no-cycles',
      '.',
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
      'Modules that need each other are one module.',
    ),
    never(
      'nothing-imports-cli',
      '^(pipelines|bridge|processor|sinks|schemas|log|config|telemetry|dashboard)/',
      { path: '^cli/' },
      'The command stands on top.',
    ),
    never(
      'nothing-below-imports-pipelines',
      '^(bridge|processor|sinks|schemas|log|config|telemetry)/',
      { path: '^pipelines/' },
      'Pipelines are applications of the engine.',
    ),
    never(
      'bridge-stands-alone',
      '^bridge/',
      { path: '^(processor|sinks)/' },
      'The three roles meet in the log only.',
    ),
    {
      name: 'processor-stands-alone',
      severity: 'error',
      comment: 'The three roles meet in the log only.',
      from: { path: '^processor/' },
      to: { path: '^(bridge|sinks)/' },
    },
    never(
      'sinks-stand-alone',
      '^sinks/',
      { path: '^(bridge|processor)/' },
      'The three roles meet in the log only.',
    ),
    never(
      'schemas-import-nothing',
      '^schemas/',
      { path: '^(log|bridge|processor|sinks|pipelines|cli)/' },
      'schemas/ is at the bottom.',
    ),
    never(
      'log-imports-nothing',
      '^log/',
      { path: '^(schemas|bridge|processor|sinks|pipelines|cli)/' },
      'log/ is at the bottom.',
    ),
    never(
      'config-and-telemetry-import-nothing',
      '^(config|telemetry)/',
      { path: '^(schemas|log|bridge|processor|sinks|pipelines|cli)/' },
      'What all may import imports none of them.',
    ),
    never(
      'no-test-code-in-the-product',
      '^(?!test/|bench/)',
      { path: '^(test|bench)/' },
      'Tests import the product, never the other way round.',
    ),

    only(
      'only-the-embedded-stores-import-lmdb',
      '^(log|processor/state)/embedded/',
      'node_modules/lmdb/',
      'Other implementations of the ports know nothing of it.',
    ),
    only(
      'only-the-kafka-log-imports-kafkajs',
      '^log/kafkajs/',
      'node_modules/kafkajs/',
      'Everything else speaks the port.',
    ),
    only(
      'only-the-redis-state-imports-ioredis',
      '^processor/state/redis/',
      'node_modules/ioredis/',
      'Everything else speaks the port.',
    ),
    only(
      'only-telemetry-imports-the-metrics-library',
      '^telemetry/',
      'node_modules/prom-client/',
      'One place decides how a metric is called.',
    ),
    only(
      'only-the-local-sink-and-parquet-import-duckdb',
      '^(sinks/local/|bridge/adapters/parquet[.]ts$)',
      'node_modules/@duckdb/',
      "A destination's client is its own folder's, a format's library its own file's.",
    ),
    only(
      'only-the-mail-sink-imports-nodemailer',
      '^sinks/smtp/',
      'node_modules/nodemailer/',
      "A destination's client is its own folder's.",
    ),
    only(
      'only-the-command-parses-arguments',
      '^cli/',
      'node_modules/commander/',
      'Everything below takes options objects.',
    ),
    only(
      'only-telemetry-imports-the-logger',
      '^telemetry/',
      'node_modules/pino/',
      'One place decides how a log line looks.',
    ),
    // Everything else speaks the ports. processor/testing is the driver: it runs a topology on the memory
    // implementations, so that users can test a pipeline without a disk; nothing at run time imports it.
    {
      name: 'only-wire-imports-implementations-of-the-log',
      severity: 'error',
      comment: 'cli/wire/ alone joins ports and implementations (design §4).',
      from: {
        pathNot: [
          '^cli/wire/',
          '^log/(embedded|kafkajs|simulated)/',
          '^processor/testing/',
          '^(test|bench)/',
        ],
      },
      to: { path: '^log/(embedded|kafkajs|simulated)/' },
    },
    {
      name: 'only-wire-imports-implementations-of-the-state',
      severity: 'error',
      comment: 'cli/wire/ alone joins ports and implementations (design §4).',
      from: {
        pathNot: [
          '^cli/wire/',
          '^processor/state/(embedded|redis)/',
          '^processor/testing/',
          '^(test|bench)/',
        ],
      },
      to: { path: '^processor/state/(embedded|redis)/' },
    },
    {
      name: 'only-wire-imports-implementations-of-the-sinks',
      severity: 'error',
      comment: 'cli/wire/ alone joins ports and implementations (design §4).',
      from: {
        pathNot: [
          '^cli/wire/',
          '^sinks/(local|webhook|smtp|bigquery|bigtable|gcs|pubsub)/',
          '^(test|bench)/',
        ],
      },
      to: { path: '^sinks/(local|webhook|smtp|bigquery|bigtable|gcs|pubsub)/' },
    },
    never(
      'only-tests-use-the-driver',
      '^(?!processor/testing/|testing\\.ts$|test/|bench/)',
      { path: '^processor/testing/' },
      'The driver is for tests; testing.ts gives it to those of users.',
    ),

    never('nothing-unresolvable', '.', { couldNotResolve: true }, 'An import that leads nowhere.'),
    {
      name: 'no-development-dependencies-in-the-product',
      severity: 'error',
      comment: 'What runs in production stands under dependencies.',
      from: { path: '^(bridge|cli|config|log|pipelines|processor|schemas|sinks|telemetry)/' },
      to: {
        dependencyTypes: ['npm-dev'],
        dependencyTypesNot: ['npm', 'type-only'],
        pathNot: 'node_modules/@types/',
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['^(dist|coverage|templates)/', '^[^/]+\\.(js|cjs)$'] },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.cjs'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
