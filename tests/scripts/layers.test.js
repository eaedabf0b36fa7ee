// What the page knows of a layer: places on the photo, ranges of colours, orders.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Layer } from '../../fmedge/render/assets/layers.js';

const floats = (...values) => {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, place) => view.setFloat32(4 * place, value, true));
  return Buffer.from(view.buffer).toString('base64');
};

const HEADER = { views: ['relu', 'raw'], viewWords: {}, photo: [12, 20], values: 'float32' };

const layer = (changes = {}) => new Layer({
  name: 'conv', shape: [3, 4, 5], firstChannel: 0, step: [3, 4], field: 7, sets: {},
  statistics: {
    raw: { smallest: floats(-3, -1, -5), largest: floats(1, 2, -2), broken: floats(0, 0, 0) },
    relu: { smallest: floats(0, 0, 0), largest: floats(1, 2, 0), mean: floats(0.5, 0.7, 0), broken: floats(0, 0, 0) },
  },
  ...changes,
}, HEADER);

test('a value has its place on the photo, and the place has its value', () => {
  const made = layer({ start: [-1, 2] });
  assert.deepEqual(made.cell(1, 2), [10, 2, 14, 5]); // left, top, right, bottom
  assert.deepEqual(made.at(10, 2), { row: 1, column: 2 });
  assert.deepEqual(made.at(13.9, 4.9), { row: 1, column: 2 });
  assert.equal(made.at(1.9, 3), null);
  assert.equal(made.at(22, 3), null);
});

test('what a value sees lies about the middle of its place', () => {
  assert.deepEqual(layer().seen(0, 0), [2 - 3.5, 1.5 - 3.5, 2 + 3.5, 1.5 + 3.5]);
  assert.deepEqual(layer({ field: [3, 9] }).seen(0, 0), [2 - 4.5, 0, 2 + 4.5, 3]);
  assert.deepEqual(layer({ field: null }).seen(1, 1), layer().cell(1, 1));
});

test('colours: of a channel, of all, around zero', () => {
  const made = layer();
  assert.deepEqual(made.range('raw', 0, { scale: 'own', colours: 'grey' }), [-3, 1]);
  assert.deepEqual(made.range('raw', 0, { scale: 'shared', colours: 'grey' }), [-5, 2]);
  assert.deepEqual(made.range('raw', 1, { scale: 'own', colours: 'diverging' }), [-2, 2]);
});

test('colours of a difference: A and B have the same, the error is as far from zero on either side', () => {
  const made = layer({ statistics: {
    error: { smallest: floats(-3, 0), largest: floats(1, 0.5) },
    a: { smallest: floats(-1, 0), largest: floats(4, 2) },
    b: { smallest: floats(-2, -5), largest: floats(3, 1) },
  } });
  for (const view of ['a', 'b']) {
    assert.deepEqual(made.range(view, 0, { scale: 'own', colours: 'grey' }), [-2, 4]);
    assert.deepEqual(made.range(view, 1, { scale: 'own', colours: 'diverging' }), [-5, 5]);
    assert.deepEqual(made.range(view, 1, { scale: 'shared', colours: 'viridis' }), [-5, 4]);
  }
  assert.deepEqual(made.range('error', 0, { scale: 'own', colours: 'grey' }), [-3, 3]);
  assert.deepEqual(made.range('error', 1, { scale: 'shared', colours: 'viridis' }), [-3, 3]);
  assert.deepEqual(made.extremes('b', 1), [-5, 1]);
  assert.deepEqual(made.extremes('b'), [-5, 3]);
});

test('dead is what ReLU leaves nothing of; of other activations nothing is said', () => {
  assert.deepEqual([0, 1, 2].map((index) => layer().isDead(index)), [false, false, true]);
  assert.equal(layer({ activation: 'swish' }).isDead(2), false);
});

test('order: the largest first, equals by number', () => {
  assert.deepEqual(layer().order('relu', 'index'), [0, 1, 2]);
  assert.deepEqual(layer().order('relu', 'mean'), [1, 0, 2]);
  assert.deepEqual(layer({ errors: { snr: floats(30, 30, 10) } }).order('relu', 'worst'), [2, 0, 1]);
});
