// What a figure shows: bounds of zoom and moves, and words of the address.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { boundedRange, movedRange, rangesFromWords, rangesInWords } from '../../fmedge/render/assets/ranges.js';

test('a range stays inside the whole and keeps its length', () => {
  assert.deepEqual(boundedRange([-10, 40], [0, 100], 1), [0, 50]);
  assert.deepEqual(boundedRange([80, 120], [0, 100], 1), [60, 100]);
  assert.deepEqual(boundedRange([-50, 150], [0, 100], 1), [0, 100]);
  assert.deepEqual(boundedRange([120, 80], [100, 0], 1), [100, 60]); // a reversed axis
});

test('four values are seen at least, fewer only of a whole that has fewer', () => {
  assert.deepEqual(boundedRange([50, 50.5], [0, 100], 2), [46.25, 54.25]);
  assert.deepEqual(boundedRange([1, 1.5], [0, 3], 1), [0, 3]);
});

test('zoomed about the middle, moved by a share', () => {
  assert.deepEqual(movedRange([0, 100], { shift: 0, zoom: 2 }), [25, 75]);
  assert.deepEqual(movedRange([0, 100], { shift: 0.25, zoom: 1 }), [25, 125]);
  assert.deepEqual(movedRange([100, 0], { shift: -0.25, zoom: 1 }), [125, 25]);
});

test('the address tells the range that was written', () => {
  const ranges = { x: [3.25, 10], y: [20, 4] };
  assert.equal(rangesInWords(ranges), '3.3,4,10,20');
  assert.deepEqual(rangesFromWords('3.3,4,10,20'), { x: [3.3, 10], y: [20, 4] });
  assert.equal(rangesInWords(null), null);
});

test('words that cannot be meant tell nothing', () => {
  for (const words of [null, '', '1,2,3', '1,2,3,4,5', '5,5,1,1', 'a,b,c,d', '0,0,1e9,1e9', '-1,-1,5,5']) assert.equal(rangesFromWords(words), null);
});
