// ---- What a figure shows of its whole: two ranges of an axis each ------------------------------------------------------

/** Values across that are seen at least, however far one zooms in. */
const LEAST_SEEN = 4;

/**
 * The range nearest to one that was asked for which lies inside the whole and is not too short.
 * @param {number[]} range from and to; on an axis that is reversed, from is the larger
 * @param {number[]} whole in the same direction
 * @param {number} unit extent of a value on the axis
 */
export function boundedRange([from, to], whole, unit) {
  const reversed = whole[1] < whole[0];
  const [first, last] = reversed ? [whole[1], whole[0]] : whole;
  const length = Math.min(last - first, Math.max(LEAST_SEEN * unit, Math.abs(to - from)));
  const start = Math.min(Math.max((from + to - length) / 2, first), last - length);
  return reversed ? [start + length, start] : [start, start + length];
}

/** The range zoomed about its middle, moved by a share of its length. */
export function movedRange([from, to], { shift, zoom }) {
  const [middle, half] = [(from + to) / 2 + shift * (to - from), (to - from) / 2 / zoom];
  return [middle - half, middle + half];
}

/** Whether two ranges are the same but for rounding. */
export function sameRange(one, other) {
  const tolerance = 1e-6 * Math.abs(other[1] - other[0]);
  return Math.abs(one[0] - other[0]) <= tolerance && Math.abs(one[1] - other[1]) <= tolerance;
}

/**
 * Ranges as words of the address: left, top, right, bottom, to a tenth; null where the whole is seen.
 * @param {{x: number[], y: number[]} | null} ranges
 */
export function rangesInWords(ranges) {
  return ranges && [ranges.x[0], ranges.y[1], ranges.x[1], ranges.y[0]].map((value) => Number(value.toFixed(1))).join(',');
}

/** The ranges that words of the address tell; null where they tell none. */
export function rangesFromWords(words) {
  const numbers = (words ?? '').split(',').map((word) => (/^\d{1,6}(\.\d)?$/.test(word) ? Number(word) : NaN));
  const [left, top, right, bottom] = numbers;
  return numbers.length === 4 && right > left && bottom > top ? { x: [left, right], y: [bottom, top] } : null;
}

export function sameSize(one, other) {
  return one[0] === other[0] && one[1] === other[1];
}
