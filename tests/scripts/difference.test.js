// How pages of a difference put B against A in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { usePage } from './page.js';

usePage({ kind: 'difference' });
const { decibels, tileInWords } = await import('../../fmedge/render/assets/difference.js');

test('the ratio in words', () => {
  assert.equal(decibels(12.34), '12.3 dB');
  assert.equal(decibels(-3.25, 0), '\u22123 dB');
  assert.equal(decibels(Infinity), 'equal');
  assert.equal(decibels(-Infinity), '\u2212\u221e dB');
  assert.equal(decibels(NaN), 'NaN dB');
});

test('a tile tells as much as it has room for', () => {
  const layer = { number: (index) => 100 + index, snr: [38.26, Infinity] };
  assert.equal(tileInWords(layer, 0, 200), '100 \u00b7 38.3 dB');
  assert.equal(tileInWords(layer, 0, 84), '100 \u00b7 38 dB');
  assert.equal(tileInWords(layer, 0, 50), '100');
  assert.equal(tileInWords(layer, 1, 84), '101 \u00b7 equal');
  assert.equal(tileInWords({ ...layer, snr: null }, 0, 200), '100');
});
