// ---- Values of A and B in pairs, counted in a grid -------------------------------------------------------------------

const COLUMNS = 192; // of the grid; a figure of 500 pixels shows each in two or three
const ROWS = 128; // where B's codes are not known
const CODES = 256; // of 8 bits

/** Equal parts of a range: where the first begins, how long each is, how many. */
function parts([low, high], count) {
  const [start, end] = high > low ? [low, high] : [low - 0.5, low + 0.5];
  return { start, step: (end - start) / count, count };
}

/** Rows for B: one for each of its codes, so that none has two of them where others have one. */
function rowsFor([low, high], scale) {
  const [first, last] = [Math.round(low / scale), Math.round(high / scale)];
  const count = last - first + 1;
  return count > 1 && count <= CODES ? { start: (first - 0.5) * scale, step: scale, count } : parts([low, high], ROWS);
}

/** A grid to count pairs in: columns for A, rows for B, both over one range; with a scale, B holds multiples of it. */
export function createGrid(range, scale = NaN) {
  const [columns, rows] = [parts(range, COLUMNS), rowsFor(range, scale)];
  return { columns, rows, counts: new Uint32Array(columns.count * rows.count), pairs: 0 };
}

/** Count every so many of the pairs, from one on; those with NaN or infinity are left out, others beyond the grid count at its edge. */
export function countPairs(grid, first, second, every = 1, from = 0) {
  const { columns, rows, counts } = grid;
  const place = (value, { start, step, count }) => Math.min(count - 1, Math.max(0, Math.floor((value - start) / step)));
  for (let index = from; index < first.length; index += every) {
    if (!Number.isFinite(first[index]) || !Number.isFinite(second[index])) continue;
    counts[place(second[index], rows) * columns.count + place(first[index], columns)] += 1;
    grid.pairs += 1;
  }
}

/** What lies in the middle of the first part, and the step to the next, as Plotly takes them. */
export const centres = (axis, { start, step }) => ({ [`${axis}0`]: start + step / 2, [`d${axis}`]: step });
