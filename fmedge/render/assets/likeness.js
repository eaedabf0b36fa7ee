import { clusteredOrder, correlation, orderByCorrelation, standardised, thinning } from './correlation.js';
import { element, layerNow, make, state } from './state.js';
import { strongest } from './shown.js';
import { overview } from './mosaic.js';

// ---- The orders by likeness, computed when they are chosen -------------------------------------------------------------------

const NONE = { key: '', order: null, correlations: null, every: 1 };
let compared = NONE;
let opened = { layer: -1, channel: 0 }; // the channel that was open last

/** The channel that the others are compared with. */
const reference = () => Math.min(state.like ?? 0, layerNow().channels - 1);

const likenessKey = () => JSON.stringify([state.layer, state.view, state.order, state.order === 'like' ? reference() : null]);

/** What was compared, where it is what is shown. */
const likenessNow = () => (compared.key === likenessKey() ? compared : NONE);

/** The channels in an order by likeness; null where another is chosen. */
export const orderOfLikeness = () => likenessNow().order;

/** Compare the channels where the order asks for it, before anything else asks. */
export async function askLikeness() {
  if (state.channel !== null) opened = { layer: state.layer, channel: state.channel };
  const key = likenessKey();
  if (key === compared.key || !(state.order in COMPARE)) return;
  compared = { key, ...await COMPARE[state.order](layerNow(), state.view, reference()) };
}

const COMPARE = { like: compareWithOne, clustered: compareAll };

async function compareWithOne(layer, view, one) {
  const every = thinning(layer, layer.channels);
  const scratch = new Float32Array(layer.rows * layer.columns);
  const read = async (index) => standardised(await layer.values(view, index, scratch), layer, every);
  const [first, correlations] = [await read(one), []];
  for (let index = 0; index < layer.channels; index += 1) correlations.push(correlation(first, await read(index)));
  return { every, correlations, order: orderByCorrelation(correlations, one) };
}

/** Channels of which all values are equal are like nothing: they come last. */
async function compareAll(layer, view) {
  const every = thinning(layer, (layer.channels * (layer.channels - 1)) / 2);
  const scratch = new Float32Array(layer.rows * layer.columns);
  const all = [];
  for (let index = 0; index < layer.channels; index += 1) all.push(standardised(await layer.values(view, index, scratch), layer, every));
  const [some, rest] = [[...all.keys()].filter((index) => all[index]), [...all.keys()].filter((index) => !all[index])];
  const distances = new Float64Array(some.length ** 2);
  for (let one = 0; one < some.length; one += 1) {
    for (let other = 0; other < one; other += 1) {
      const distance = 1 - correlation(all[some[one]], all[some[other]]);
      distances[one * some.length + other] = distance;
      distances[other * some.length + one] = distance;
    }
  }
  const order = clusteredOrder(some.length, (one, other) => distances[one * some.length + other]);
  return { every, correlations: null, order: [...order.map((place) => some[place]), ...rest] };
}

// ---- What is said of it ------------------------------------------------------------------------------------------------------

const sampled = ({ every }) => (every > 1 ? [['Compared by', `one value of ${every ** 2}`]] : []);

/** Rows of the card: of one channel, or with null of all. */
export function likenessFacts(index) {
  const found = likenessNow();
  if (!found.order) return [];
  const number = layerNow().number(reference());
  if (index === null) {
    const way = state.order === 'like' ? `by correlation with channel ${number}` : 'in clusters of correlated channels (average linkage)';
    return [['Ordered', way], ...sampled(found)];
  }
  if (!found.correlations) return [];
  const value = found.correlations[index];
  const text = Number.isNaN(value) ? 'none: all values of one are equal' : value.toFixed(3).replace('-', '\u2212');
  return [[`Correlation with channel ${number}`, text], ...sampled(found)];
}

// ---- The choice --------------------------------------------------------------------------------------------------------------

/** The channel that the reader is at: open, under the keyboard's outline, open before, or the strongest at the mark. */
function channelAtHand() {
  const before = opened.layer === state.layer ? opened.channel : undefined;
  return state.channel ?? overview.order[overview.cursor] ?? before ?? strongest(1)[0] ?? 0;
}

/** What another choice of the order changes. */
export function chooseOrder(order) {
  return order.startsWith('like') ? { order: 'like', like: channelAtHand() } : { order };
}

/** Name in the chooser the channel that others would be compared with; where one is already, offer another, too. */
export function syncLikeness() {
  const chooser = element('order');
  const [layer, chosen] = [layerNow(), state.order === 'like'];
  const [now, other] = [reference(), channelAtHand()];
  chooser.querySelector('[value=like-this]')?.remove();
  const option = chooser.querySelector('[value=like]');
  option.textContent = `like channel ${layer.number(chosen ? now : other)}`;
  if (chosen && now !== other) option.after(make('option', `like channel ${layer.number(other)}`, { value: 'like-this' }));
}
