// Rules for the pages' scripts and their tests.
import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['.*/**', 'node_modules/**'] },
  {
    files: ['**/*.js'],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: { ...globals.browser, Plotly: 'readonly' } },
    rules: {
      ...js.configs.recommended.rules,
      'eqeqeq': 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-unused-vars': ['error', { caughtErrors: 'none' }],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  { files: ['tests/**/*.js'], languageOptions: { globals: globals.node } },
];
