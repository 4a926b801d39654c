import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** Files that a tool finds by their default export. */
const withDefaultExport = [
  'pipelines/*/index.ts',
  'templates/*/pipeline.ts',
  '**/*.config.js',
  'test/cli/fixtures/**',
]

export default defineConfig(
  { ignores: ['node_modules/', 'dist/', 'coverage/', 'millrace-data/', 'millrace-demo/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/promise-function-async': 'off',
      // A promise that is handed on without `await` is missing from the stack of what it throws.
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // With noUncheckedIndexedAccess an index that is known to be good is `array[i]!`: typed arrays need it.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // `view(start!)` says that the index is known to be good, also where undefined would be taken.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      // The graph and the contracts erase their types; where an `any` spreads, no-unsafe-* still catch it.
      '@typescript-eslint/no-explicit-any': 'off',
      // What was caught is thrown again.
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true, allowRethrowing: true }],
      // A port's method is async whether or not this implementation has something to wait for.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // The phantom parameters of schemas and destinations are named once.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // `Promise.withResolvers<void>()` is how one is made.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // Options are objects whose functions are taken out of them.
      '@typescript-eslint/unbound-method': 'off',
      // Codecs are generated from validated schemas; each place says so and turns the rule off for itself.
      '@typescript-eslint/no-implied-eval': 'error',
      eqeqeq: ['error', 'always'],
      'no-console': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Named exports only (pipelines excepted).' },
      ],
    },
  },
  { files: withDefaultExport, rules: { 'no-restricted-syntax': 'off' } },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      // Expressions that only have to compile, or not to.
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      'no-console': 'off',
    },
  },
  { files: ['schemas/generate.ts', 'cli/demo.ts'], rules: { 'no-console': 'off' } },
)
