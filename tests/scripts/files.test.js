// Files that the page writes: NumPy's header, tables, GIF's compression.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { csvOfChannel, csvOfMap } from '../../fmedge/render/assets/csv.js';
import { gifFrame, lzw } from '../../fmedge/render/assets/gif.js';
import { npyHeader } from '../../fmedge/render/assets/npy.js';

test("NumPy's header: version, shape, and a length that aligns the data", () => {
  for (const [shape, said] of [[[7], '(7,)'], [[24, 32], '(24, 32)'], [[512, 14, 14], '(512, 14, 14)']]) {
    const header = Buffer.from(npyHeader(/** @type {number[]} */ (shape)));
    assert.equal(header.length % 64, 0);
    assert.deepEqual([...header.subarray(0, 8)], [0x93, ...Buffer.from('NUMPY'), 1, 0]);
    assert.equal(header.readUInt16LE(8), header.length - 10);
    assert.match(header.subarray(10).toString(), /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(.*\), \} *\n$/);
    assert.ok(header.includes(`'shape': ${said}`));
  }
});

test('a map is a table, several are in the long form', () => {
  const values = Float32Array.of(1, -0.5, NaN, 0, 2, 3);
  assert.equal(csvOfMap(values, { rows: 2, columns: 3 }), '1,-0.5,nan\n0,2,3\n');
  assert.equal(csvOfChannel(9, values.subarray(0, 4), { columns: 2 }), '9,0,0,1\n9,0,1,-0.5\n9,1,0,nan\n9,1,1,0\n');
});

/** The pixels that codes stand for, as the specification of GIF says it. */
function decoded(bytes) {
  const [clear, end] = [256, 257];
  const out = [];
  let [size, place, table, before] = [9, 0, [], null];
  for (;;) {
    let code = 0;
    for (let bit = 0; bit < size; bit += 1, place += 1) code |= ((bytes[place >> 3] >> (place & 7)) & 1) << bit;
    if (code === end) return { out, used: Math.ceil(place / 8) };
    if (code === clear) {
      table = Array.from({ length: 258 }, (_, level) => [level]);
      [size, before] = [9, null];
      continue;
    }
    const found = table[code] ?? [...before, before[0]];
    if (before && table.length < 4096) table.push([...before, found[0]]);
    if (table.length === 1 << size && size < 12) size += 1;
    out.push(...found);
    before = found;
  }
}

test('compressed pixels are the pixels again: runs, noise, and every length about a change of the codes', () => {
  const noise = (length) => Uint8Array.from({ length }, (_, place) => Math.imul(place + 1, 2654435761) >>> 24);
  const many = [new Uint8Array(1), new Uint8Array(100000), noise(60000), noise(60000).map((level) => level & 3)];
  const several = Array.from({ length: 40 }, (_, more) => [noise(240 + more), noise(3820 + more)]).flat();
  for (const pixels of [...many, ...several]) {
    const packed = lzw(pixels);
    const { out, used } = decoded(packed);
    assert.ok(Buffer.from(out).equals(pixels), `${pixels.length} pixels`);
    assert.equal(used, packed.length);
  }
});

test('a picture of an animation is blocks of at most 255 bytes, which a 0 ends', () => {
  const frame = gifFrame(Uint8Array.from({ length: 600 }, (_, place) => place * place), 30, 20, 25);
  let place = 8 + 10 + 1;
  while (frame[place]) place += frame[place] + 1;
  assert.equal(place, frame.length - 1);
});
