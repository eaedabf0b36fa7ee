// Filters over channels, the products of a convolution, and where zero is.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readFilter } from '../../fmedge/render/assets/filters.js';

const CHANNELS = [
  { number: 0, dead: false, max: 5, min: 0, mean: 1, zeros: 0.25, here: 2 },
  { number: 1, dead: true, max: 0, min: 0, mean: 0, zeros: 1, here: 0 },
  { number: 12, dead: false, max: 0.5, min: -3, mean: -0.1, zeros: 0, here: undefined },
];

const shown = (text) => CHANNELS.filter(readFilter(text)).map(({ number }) => number);

test('a filter reads conditions, numbers, and both', () => {
  assert.deepEqual(shown(''), [0, 1, 12]);
  assert.deepEqual(shown('dead'), [1]);
  assert.deepEqual(shown('max > 0.4'), [0, 12]);
  assert.deepEqual(shown('MAX>=.5 and mean < 0'), [12]);
  assert.deepEqual(shown('min < \u22122.5'), [12]);
  assert.deepEqual(shown('zeros > 50 %'), [1]);
  assert.deepEqual(shown('0-1, 12'), [0, 1, 12]);
  assert.deepEqual(shown('0 - 1, alive'), [0]);
  assert.deepEqual(shown('here > 1'), [0]); // where nothing is marked, nothing is larger
});

test('what cannot be read is said to be so', () => {
  for (const text of ['huge', 'max', 'max > ', 'max = 5', 'max > x', 'constructor > 1', '-3', '1-']) assert.equal(readFilter(text), null, text);
});
