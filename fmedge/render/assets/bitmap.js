import { cssColour } from './embedded.js';
import { BROKEN, colourAt, hexColour } from './colours.js';

// ---- A picture of palette colours, as a BMP: nothing to compress, and other colours are another palette ----

const LEVELS = 253; // palette entries of values, from 0
const BROKEN_LEVEL = 254;
export const [DEAD_LEVEL, GAP_LEVEL] = [253, 255];
export const BMP_HEADER = 54;
export const BMP_PALETTE = 4 * 256;

/**
 * An empty picture of a grid, all gap; rows run from the bottom up, each padded to 4 bytes.
 * @param {number} across the grid's pixels
 * @param {number} down
 * @param {number} coarse n, where the picture holds every n-th of them, across and down
 */
export function createBitmap(across, down, coarse = 1) {
  const [width, height] = [across, down].map((extent) => Math.ceil(extent / coarse));
  const stride = (width + 3) & ~3;
  const file = new Uint8Array(BMP_HEADER + BMP_PALETTE + stride * height).fill(GAP_LEVEL);
  const view = new DataView(file.buffer);
  file.fill(0, 0, BMP_HEADER + BMP_PALETTE);
  view.setUint16(0, 0x4d42, true); // "BM"
  view.setUint32(2, file.length, true);
  view.setUint32(10, BMP_HEADER + BMP_PALETTE, true);
  view.setUint32(14, 40, true); // size of the second header
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true); // planes
  view.setUint16(28, 8, true); // bits per pixel
  return { file, width, height, stride, coarse, pixels: file.subarray(BMP_HEADER + BMP_PALETTE) };
}

export function setPalette({ file }, name) {
  /** @type {(level: number, colour: number[]) => void} */
  const set = (level, [red, green, blue]) => file.set([blue, green, red], BMP_HEADER + 4 * level);
  const colour = (text) => [1, 3, 5].map((start) => Number.parseInt(text.slice(start, start + 2), 16));
  for (let level = 0; level < LEVELS; level += 1) set(level, colourAt(name, level / (LEVELS - 1)).map(Math.round));
  set(DEAD_LEVEL, colour(hexColour(colourAt(name, name === 'diverging' ? 0.62 : 0.3))));
  set(BROKEN_LEVEL, colour(BROKEN));
  set(GAP_LEVEL, colour(cssColour('--line')));
}

export function bitmapUrl({ file }) {
  if (file.toBase64) return `data:image/bmp;base64,${file.toBase64()}`;
  const parts = [];
  for (let start = 0; start < file.length; start += 32768) {
    parts.push(String.fromCharCode(...file.subarray(start, start + 32768)));
  }
  return `data:image/bmp;base64,${btoa(parts.join(''))}`;
}

/** Red, green and blue of the palette's entries. */
export function paletteOf({ file }) {
  return Array.from({ length: 256 }, (_, level) => [2, 1, 0].map((part) => file[BMP_HEADER + 4 * level + part]));
}

/** The palette's entry at a pixel of the grid. */
export function levelAt({ pixels, height, stride, coarse }, x, y) {
  return pixels[(height - 1 - Math.floor(y / coarse)) * stride + Math.floor(x / coarse)];
}

/** The palette's entries for values. */
export function levelsOf(values, [low, high]) {
  const factor = high > low ? (LEVELS - 1) / (high - low) : 0;
  const levels = new Uint8Array(values.length);
  for (let place = 0; place < values.length; place += 1) {
    const value = values[place]; // may lie beyond the range by its rounding, and that can be many levels
    levels[place] = Number.isFinite(value) ? Math.min(Math.max((value - low) * factor + 0.5, 0), LEVELS - 1) : BROKEN_LEVEL;
  }
  return levels;
}

/** The entries that bytes stand for (their own map() takes twice as long). */
export function lookUp(levels, bytes) {
  const found = new Uint8Array(bytes.length);
  for (let place = 0; place < bytes.length; place += 1) found[place] = levels[bytes[place]];
  return found;
}
