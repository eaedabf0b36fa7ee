// How much channels are alike, and orders by it.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clusteredOrder, correlation, orderByCorrelation, standardised, thinning } from '../../fmedge/render/assets/correlation.js';

const MAP = { rows: 4, columns: 6 };
const wave = (length, shift = 0) => Float32Array.from({ length }, (_, place) => Math.sin(1.7 * place + shift) + place / 9);

test('correlation is that of the values, whatever their scale', () => {
  const [one, other] = [wave(24), wave(24, 1)];
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / 24;
  const centred = (values) => Array.from(values, (value) => value - mean(values));
  const product = (first, second) => centred(first).reduce((sum, value, place) => sum + value * centred(second)[place], 0);
  const expected = product(one, other) / Math.sqrt(product(one, one) * product(other, other));
  const of = (first, second) => correlation(standardised(first, MAP, 1), standardised(second, MAP, 1));
  assert.ok(Math.abs(of(one, other) - expected) < 1e-9);
  assert.ok(Math.abs(of(one, one.map((value) => 1000 - 7 * value)) + 1) < 1e-6);
  assert.equal(of(one, new Float32Array(24).fill(0.1)), NaN);
  assert.ok(Math.abs(of(one, one.with(3, NaN).with(9, Infinity))) < 1);
});

test('larger maps are thinned out by rows and columns', () => {
  assert.deepEqual([...standardised(wave(24), MAP, 2)], [...standardised(wave(24).filter((_, place) => place % 2 === 0 && place % 12 < 6), { rows: 2, columns: 3 }, 1)]);
  assert.equal(thinning({ rows: 224, columns: 224 }, 64 * 63 / 2), 1);
  assert.equal(thinning({ rows: 14, columns: 14 }, 512 * 511 / 2), 1);
  assert.equal(thinning({ rows: 448, columns: 448 }, 64), 2);
});

test('by likeness to one: itself first, what correlates with nothing last', () => {
  assert.deepEqual(orderByCorrelation([0.2, NaN, 1, -0.4, 0.9, 1], 2), [2, 5, 4, 0, 3, 1]);
  assert.deepEqual(orderByCorrelation([NaN, NaN, NaN], 1), [1, 0, 2]);
});

test('clusters are whole, and like ones meet in the middle', () => {
  const places = [0, 50, 1, 53, 3, 51, 99]; // groups about 0, 50 and 99
  const order = clusteredOrder(places.length, (one, other) => Math.abs(places[one] - places[other]));
  assert.deepEqual(order.map((index) => places[index]), [0, 1, 3, 50, 51, 53, 99]);
  assert.deepEqual(clusteredOrder(1, () => 0), [0]);
  assert.deepEqual(clusteredOrder(0, () => 0), []);
});

test('groups are joined by their average distance, as a plain search for the nearest two joins them', () => {
  for (let seed = 1; seed < 6; seed += 1) {
    const count = 23;
    const points = Array.from({ length: count }, (_, place) => [(place * 37 * seed) % 101, (place * 53 + 7 * place * place * seed) % 103]);
    const distance = (one, other) => Math.hypot(points[one][0] - points[other][0], points[one][1] - points[other][1]);
    const order = clusteredOrder(count, distance);
    let groups = Array.from({ length: count }, (_, index) => [index]);
    const average = (one, other) => one.reduce((sum, first) => sum + other.reduce((rest, second) => rest + distance(first, second), 0), 0) / (one.length * other.length);
    while (groups.length > 1) {
      const pairs = groups.flatMap((one, place) => groups.slice(place + 1).map((other) => ({ one, other, gap: average(one, other) })));
      const { one, other } = pairs.reduce((best, pair) => (pair.gap < best.gap ? pair : best));
      groups = [...groups.filter((group) => group !== one && group !== other), [...one, ...other]];
      const places = groups.at(-1).map((index) => order.indexOf(index));
      assert.equal(Math.max(...places) - Math.min(...places), places.length - 1, 'every group lies in one piece');
    }
  }
});
