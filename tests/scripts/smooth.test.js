// A map over the photo, smooth.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { usePage } from './page.js';

usePage({});
const { betweenValues, smoothPixels } = await import('../../fmedge/render/assets/smooth.js');

test('a pixel lies between the two values whose middles are about its own', () => {
  const places = betweenValues(2, 8).map(({ first, second, share }) => first * (1 - share) + second * share);
  assert.deepEqual(places, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]);
  assert.deepEqual(betweenValues(1, 2), [{ first: 0, second: 0, share: 0 }, { first: 0, second: 0, share: 0 }]);
});

test('colours and opacities go evenly from value to value', () => {
  const tones = Array.from({ length: 101 }, (_, tone) => [tone, 0, 0, 2 * tone]);
  const pixels = smoothPixels(Float32Array.of(0, 10, NaN, 10), { rows: 2, columns: 2 }, [0, 10], { width: 4, height: 2 }, tones);
  assert.deepEqual([...pixels].filter((_, place) => place % 4 === 0), [0, 25, 75, 100, 0, 25, 75, 100]);
  assert.deepEqual([...pixels.subarray(8, 12)], [75, 0, 0, 150]);
  const flat = smoothPixels(Float32Array.of(3, 3), { rows: 1, columns: 2 }, [3, 3], { width: 2, height: 1 }, tones);
  assert.deepEqual([...flat], new Array(8).fill(0));
});
