// ---- How much channels are alike: correlation over their values, and an order in which like ones lie together ---------------

/** Most values of a channel that are compared: all of a map of 224 x 224, the input of the stock networks. */
const MOST_VALUES = 224 * 224;
const MOST_PRODUCTS = 2e8; // of all pairs of channels: a third of a second

/** Of larger maps, every so many-th row and column is compared. */
export function thinning({ rows, columns }, pairs) {
  const most = Math.max(1, Math.min(MOST_VALUES, MOST_PRODUCTS / Math.max(1, pairs)));
  return Math.max(1, Math.ceil(Math.sqrt((rows * columns) / most)));
}

/** A channel's values about their mean, of length 1, so that products of two sum up to their correlation; NaN and infinity count as the
 * mean. Null where all values are equal: then nothing correlates. */
export function standardised(values, { rows, columns }, every) {
  const found = new Float64Array(Math.ceil(rows / every) * Math.ceil(columns / every));
  let [place, sum, count, low, high] = [0, 0, 0, Infinity, -Infinity];
  for (let row = 0; row < rows; row += every) {
    for (let column = 0; column < columns; column += every, place += 1) {
      const value = values[row * columns + column];
      found[place] = value;
      if (!Number.isFinite(value)) continue;
      sum += value;
      count += 1;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (!(high > low)) return null;
  const mean = sum / count;
  let squares = 0;
  for (place = 0; place < found.length; place += 1) {
    found[place] = Number.isFinite(found[place]) ? found[place] - mean : 0;
    squares += found[place] ** 2;
  }
  const length = Math.sqrt(squares);
  for (place = 0; place < found.length; place += 1) found[place] /= length;
  return found;
}

/** Of two standardised channels. */
export function correlation(one, other) {
  if (!one || !other) return NaN;
  let sum = 0;
  for (let place = 0; place < one.length; place += 1) sum += one[place] * other[place];
  return Math.min(1, Math.max(-1, sum));
}

/** The channels, those that correlate most with one of them first, itself in front; those that correlate with nothing last. */
export function orderByCorrelation(correlations, reference) {
  const rank = (index) => (index === reference ? Infinity : Number.isNaN(correlations[index]) ? -Infinity : correlations[index]);
  return [...correlations.keys()].sort((one, other) => (rank(one) === rank(other) ? one - other : rank(other) - rank(one)));
}

/** Two groups in one line: of the four ways to turn them, that in which the two that meet are nearest. */
function joined(one, other, distance) {
  const turned = (group) => [...group].reverse();
  const ways = [[one, other], [one, turned(other)], [turned(one), other], [turned(one), turned(other)]];
  const gaps = ways.map(([first, second]) => distance(first.at(-1), second[0]));
  return ways[gaps.indexOf(Math.min(...gaps))].flat();
}

/**
 * An order in which like ones lie together: hierarchical clustering by average linkage, found along chains of nearest neighbours
 * (F. Murtagh, The Computer Journal 26, 1983), its groups turned as they are joined (G. Gruvaeus and H. Wainer, British Journal of
 * Mathematical and Statistical Psychology 25, 1972).
 * @param {number} count
 * @param {(one: number, other: number) => number} distance
 */
export function clusteredOrder(count, distance) {
  const between = new Float64Array(count * count);
  for (let one = 0; one < count; one += 1) for (let other = 0; other < count; other += 1) between[one * count + other] = distance(one, other);
  const groups = Array.from({ length: count }, (_, index) => [index]); // null: joined to another
  const chain = [];
  for (let left = count; left > 1;) {
    if (!chain.length) chain.push(groups.findIndex(Boolean));
    const [before, last] = [chain.at(-2), chain.at(-1)];
    let nearest = before;
    for (let index = 0; index < count; index += 1) {
      const nearer = nearest === undefined || between[last * count + index] < between[last * count + nearest];
      if (groups[index] && index !== last && nearer) nearest = index;
    }
    if (nearest !== before) {
      chain.push(nearest);
      continue;
    }
    chain.length -= 2;
    const [one, other] = [groups[before].length, groups[last].length];
    for (let index = 0; index < count; index += 1) {
      const average = (one * between[before * count + index] + other * between[last * count + index]) / (one + other);
      between[before * count + index] = average;
      between[index * count + before] = average;
    }
    groups[before] = joined(groups[before], groups[last], distance);
    groups[last] = null;
    left -= 1;
  }
  const order = groups.find(Boolean) ?? [];
  return order[0] > order.at(-1) ? order.reverse() : order;
}
