// The colours of values.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { colourAt, colourscale, hexColour } from '../../fmedge/render/assets/colours.js';

test('the ends and the middle of the scales', () => {
  assert.deepEqual(colourAt('grey', 0), [0, 0, 0]);
  assert.deepEqual(colourAt('grey', 0.5), [127.5, 127.5, 127.5]);
  assert.equal(hexColour(colourAt('viridis', 1)), '#fde725');
  assert.equal(hexColour(colourAt('diverging', 0.5)), '#f7f7f7');
});

test('shares beyond the scale take its ends', () => {
  assert.deepEqual(colourAt('grey', -1), [0, 0, 0]);
  assert.deepEqual(colourAt('grey', 7), [255, 255, 255]);
});

test("Plotly's scale runs from 0 to 1", () => {
  const scale = colourscale('diverging');
  assert.deepEqual([scale[0][0], scale.at(-1)[0]], [0, 1]);
});
