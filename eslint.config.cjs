// Rules for the pages' scripts: several files are joined to one, so each says at its head what it takes from the others and gives to
// them. CommonJS, since pre-commit hands its packages over in NODE_PATH.
'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  {
    files: ['**/*.js'],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { ecmaVersion: 2024, sourceType: 'script', globals: globals.browser },
    rules: {
      ...js.configs.recommended.rules,
      'eqeqeq': 'error',
      'no-implied-eval': 'error',
      'no-eval': 'error',
      'no-unused-vars': ['error', { caughtErrors: 'none' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'strict': ['error', 'global'],
    },
  },
  {
    // What their heads say of others is not all used, or said; to correct that changes every page's bytes.
    files: ['**/channel.js', '**/detail.js', '**/viewer.js'],
    rules: { 'no-unused-vars': ['error', { vars: 'local', caughtErrors: 'none' }] },
  },
];
