// ---- Which channels are shown: a line of conditions, as in "max > 5, zeros < 50 %, 0-31" --------------------------------------

const STATISTICS = { min: 'smallest', max: 'largest', mean: 'mean', spread: 'spread', zeros: 'zeros', here: 'here', db: 'snr' };
const COMPARED = {
  '>': (one, other) => one > other, '<': (one, other) => one < other, '>=': (one, other) => one >= other, '<=': (one, other) => one <= other,
};

/** What a filter may say, for readers. */
export const FILTER_HELP = 'max > 5, min, mean, spread, zeros > 50 %, here > 1 (at the mark), dead, alive, 0-31';

/**
 * Read a filter.
 * @param {string} text conditions, with commas or "and" between them; all must hold, but of numbers of channels one
 * @returns {((channel: any) => boolean) | null} whether a channel is shown, or null where the text cannot be read. Of a channel it asks
 *   `number`, `dead`, and its statistics by the names of STATISTICS.
 */
export function readFilter(text) {
  const words = text.trim().toLowerCase().split(/\s*(?:,|\band\b)\s*/).filter(Boolean);
  const [ranges, tests] = [[], []];
  for (const word of words) {
    const range = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(word);
    const compared = /^(\w+)\s*([<>]=?)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%?)$/.exec(word.replace('\u2212', '-'));
    if (range) ranges.push([Number(range[1]), Number(range[2] ?? range[1])]);
    else if (word === 'dead' || word === 'alive') tests.push(({ dead }) => dead === (word === 'dead'));
    else if (compared && Object.hasOwn(STATISTICS, compared[1])) {
      const [, name, sign, number, percent] = compared;
      tests.push((channel) => COMPARED[sign](channel[name], percent ? Number(number) / 100 : Number(number)));
    } else return null;
  }
  const named = ({ number }) => !ranges.length || ranges.some(([first, last]) => number >= first && number <= last);
  return (channel) => named(channel) && tests.every((test) => test(channel));
}

/** What a filter asks of a channel. */
export function factsForFilter(layer, view, index, answers) {
  const found = layer.statistics[view];
  const statistics = Object.entries(STATISTICS).map(([name, statistic]) => [name, { here: answers, snr: layer.snr }[statistic]?.[index] ?? found[statistic]?.[index]]);
  return { ...Object.fromEntries(statistics), number: layer.number(index), dead: layer.isDead(index) };
}
