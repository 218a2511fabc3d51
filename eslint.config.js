import neostandard from 'neostandard'
import tseslint from 'typescript-eslint'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.test-bundle/**', '.tap/**', 'data/**'] }),
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    plugins: { ts: tseslint.plugin },
    rules: {
      'ts/no-explicit-any': 'error',
      'ts/no-non-null-assertion': 'error',
      // A subtest is awaited by its parent, whether or not its promise is.
      'ts/no-floating-promises': ['error', { allowForKnownSafePromises: [{ from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/core' }] }],
      // Columns and members of wire formats keep the names that they have there.
      camelcase: 'off',
      // `${VAR}` is text that an operator writes; and the compiler knows which functions return on every way.
      'no-template-curly-in-string': 'off',
      'array-callback-return': 'off',
      'no-unmodified-loop-condition': 'off',
      '@stylistic/object-property-newline': 'off',
      '@stylistic/quote-props': ['error', 'consistent-as-needed', { unnecessary: false }],
      'no-void': ['error', { allowAsStatement: true }],
      'ts/no-misused-promises': 'error',
      'ts/await-thenable': 'error',
      'ts/switch-exhaustiveness-check': 'error',
      'ts/consistent-type-imports': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: { 'no-console': 'error' },
  },
]
