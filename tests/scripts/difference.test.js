// How pages of a difference put B against A in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { usePage } from './page.js';

usePage({ kind: 'difference' });
const { codeOf, decibels, tileInWords } = await import('../../fmedge/render/assets/difference.js');
const { channelsAsCsv, sortChannels } = await import('../../fmedge/render/assets/channel_figures.js');
const { centres, countPairs, createGrid } = await import('../../fmedge/render/assets/pairs.js');

test('the ratio in words', () => {
  assert.equal(decibels(12.34), '12.3 dB');
  assert.equal(decibels(-3.25, 0), '\u22123 dB');
  assert.equal(decibels(Infinity), 'equal');
  assert.equal(decibels(-Infinity), '\u2212\u221e dB');
  assert.equal(decibels(NaN), 'NaN dB');
});

test('the code of a value, where it is known and the value is exact enough', () => {
  const layer = { errors: { scale: [0.5, 0.25], zero: [3, -128] } };
  assert.equal(codeOf(layer, 0, 2.01, 0.1), 7);
  assert.equal(codeOf(layer, 1, 0, 0), -128);
  assert.equal(codeOf(layer, 0, 2, 0.2), null);
  assert.equal(codeOf(layer, 0, NaN, 0), null);
  assert.equal(codeOf({ errors: {} }, 0, 2, 0), null);
});

test('a tile tells as much as it has room for', () => {
  const layer = { number: (index) => 100 + index, snr: [38.26, Infinity] };
  assert.equal(tileInWords(layer, 0, 200), '100 \u00b7 38.3 dB');
  assert.equal(tileInWords(layer, 0, 84), '100 \u00b7 38 dB');
  assert.equal(tileInWords(layer, 0, 50), '100');
  assert.equal(tileInWords(layer, 1, 84), '101 \u00b7 equal');
  assert.equal(tileInWords({ ...layer, snr: null }, 0, 200), '100');
});

const LAYER = {
  channels: 4,
  number: (index) => 10 + index,
  errors: { snr: [30, Infinity, -Infinity, NaN], bias: [0.5, 0, -2, 1], largest: [1, 0, 1, 3], saturated: [0, 0, Math.fround(0.1), 1] },
};

test('channels by a figure: what has none comes last, equals by number', () => {
  assert.deepEqual(sortChannels(LAYER, 'snr_db', 'ascending'), [2, 0, 1, 3]);
  assert.deepEqual(sortChannels(LAYER, 'snr_db', 'descending'), [1, 0, 2, 3]);
  assert.deepEqual(sortChannels(LAYER, 'bias', 'descending'), [2, 3, 0, 1]); // by size
  assert.deepEqual(sortChannels(LAYER, 'max_error', 'descending'), [3, 0, 2, 1]);
  assert.deepEqual(sortChannels(LAYER, 'scale', 'descending'), [0, 1, 2, 3]);
  assert.deepEqual(sortChannels(LAYER, 'channel', 'descending'), [3, 2, 1, 0]);
});

test('a file for spreadsheets and programs', () => {
  const coded = { ...LAYER, errors: { ...LAYER.errors, scale: [0.5, 0.25, 1e-7, 2], zero: [0, 1, 128, 255] } };
  assert.equal(channelsAsCsv(coded, [2, 1]), [
    'channel,snr_db,bias,max_error,saturated,scale,zero_point',
    '12,-inf,-2,1,0.100000001,1e-7,128',
    '11,inf,0,0,0,0.25,1',
    '',
  ].join('\r\n'));
  assert.equal(channelsAsCsv(LAYER, [3]).split('\r\n')[1], '13,,1,3,1,,');
});

test('pairs are counted where they lie; what is no number is left out', () => {
  const grid = createGrid([-8, 8]);
  const cell = (a, b) => {
    const column = Math.floor(((a + 8) / 16) * grid.columns.count);
    return grid.counts[Math.floor(((b + 8) / 16) * grid.rows.count) * grid.columns.count + column];
  };
  countPairs(grid, [1.01, 1.01, -8, 8, NaN, 0, 20], [-2.01, -2.01, 7.99, 8, 0, Infinity, 20]);
  assert.equal(cell(1.01, -2.01), 2);
  assert.equal(cell(-8, 7.99), 1);
  assert.equal(grid.counts.at(-1), 2); // 8, and what lies beyond
  assert.equal(grid.pairs, 5);
  countPairs(grid, [0, 5, 0, 5], [1, 1, 1, 1], 2, 1);
  assert.equal(cell(5, 1), 2);
  assert.equal(cell(0, 1), 0);
});

test('every code of B has a row of its own', () => {
  const scale = 0.3;
  const { rows, columns } = createGrid([-4 * scale, 100 * scale], scale);
  assert.equal(rows.count, 105);
  assert.ok(Math.abs(centres('y', rows).y0 - -4 * scale) < 1e-9);
  assert.equal(centres('y', rows).dy, scale);
  assert.equal(createGrid([0, 1000], scale).rows.count, createGrid([0, 1000]).rows.count);
  assert.deepEqual([columns.start, columns.start + columns.count * columns.step].map((value) => value.toFixed(6)), ['-1.200000', '30.000000']);
  const { start, step, count } = createGrid([5, 5]).columns;
  assert.deepEqual([start, start + step * count], [4.5, 5.5]);
});
