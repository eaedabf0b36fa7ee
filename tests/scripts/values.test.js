// How the page reads values: fmedge/render/encoding.py writes them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { addNeighbours, FORMATS } from '../../fmedge/render/assets/data.js';

const decode = (format, planes, count, scale = {}) => {
  const out = new Float32Array(count);
  FORMATS[format].decode(planes.map((bytes) => Uint8Array.from(bytes)), out, scale);
  return [...out];
};

test('12 bits: codes, zero, and the three that are no finite values', () => {
  // Codes 100, 4093, 4094, 4095, 0: the upper 8 bits, then the lower 4, the earlier one in the lower half of a byte.
  const [high, low] = [[6, 255, 255, 255, 0], [4 | (13 << 4), 14 | (15 << 4), 0]];
  assert.deepEqual(decode('12bit', [high, low], 5, { zero: 100, step: 0.5, offset: 0 }), [0, -Infinity, Infinity, NaN, -50]);
});

test('half floats: every bit pattern is the value that DataView reads', { skip: !('getFloat16' in DataView.prototype) && 'needs DataView.getFloat16' }, () => {
  const bits = Array.from({ length: 65536 }, (_, place) => place);
  const view = new DataView(new ArrayBuffer(2));
  const expected = bits.map((pattern) => {
    view.setUint16(0, pattern);
    return /** @type {any} */ (view).getFloat16(0);
  });
  assert.deepEqual(decode('float16', [bits.map((pattern) => pattern >> 8), bits.map((pattern) => pattern & 255)], 65536), expected);
});

test('floats: the very bits', () => {
  const values = Float32Array.of(1.5, -0, 3e-45, -3.4e38, Infinity, NaN);
  const view = new DataView(values.buffer);
  const plane = (shift) => [...values.keys()].map((place) => (view.getUint32(4 * place, true) >>> shift) & 255);
  assert.deepEqual(decode('float32', [24, 16, 8, 0].map(plane), values.length), [...values]);
});

test('differences add up to the bytes, over 255 too, and channels do not reach into each other', () => {
  // Two channels of two rows and three columns: 250 5 4 / 1 2 3 and 7 7 7 / 0 0 255.
  const plane = Uint8Array.of(250, 11, 255, 7, 246, 2, 7, 0, 0, 249, 0, 255);
  assert.deepEqual([...addNeighbours(plane, { size: 6, columns: 3 })], [250, 5, 4, 1, 2, 3, 7, 7, 7, 0, 0, 255]);
});
