// Numbers as text: each reads back as the very float32, in few digits.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { exactNumber } from '../../fmedge/render/assets/csv.js';

test('a number reads back as the same float, and is short where it can be', () => {
  const view = new DataView(new ArrayBuffer(4));
  for (let count = 0, bits = 1; count < 20000; count += 1, bits = (Math.imul(bits, 1664525) + 1013904223) >>> 0) {
    view.setUint32(0, bits);
    const value = view.getFloat32(0);
    if (Number.isFinite(value)) assert.equal(Math.fround(Number(exactNumber(value))), value);
  }
  assert.equal(exactNumber(Math.fround(0.1)), '0.1');
  assert.equal(exactNumber(-2.5), '-2.5');
  assert.equal(exactNumber(16777217), '16777216');
});

test('what is no finite number is written as Python reads it', () => {
  assert.deepEqual([NaN, Infinity, -Infinity].map(exactNumber), ['nan', 'inf', '-inf']);
});
