import { factsForFilter, readFilter } from './filters.js';
import { orderOfLikeness } from './likeness.js';
import { layerNow, state } from './state.js';

// ---- Which channels are shown, in which order: by what is known of them, and by what they answer at the marked place ---------

let answered = { key: '', values: null };

/** The marked place as a value of the layer; null where nothing is marked, or the layer does not reach there. */
export function markedValue() {
  const place = state.at && layerNow().at(state.at.x, state.at.y);
  return place && { layer: layerNow(), ...place };
}

/** Let the values at the marked place be known, before anything asks for them. */
export async function askAnswers() {
  const place = markedValue();
  const key = place ? JSON.stringify([state.layer, state.view, place.row, place.column]) : '';
  if (key === answered.key) return;
  answered = { key, values: place ? await layerNow().answers(state.view, place) : null };
}

/** What every channel of the layer answers at the marked place; null where none is marked. */
export const answersNow = () => answered.values;

/** The channels that are shown, in their order. */
export function channelsNow() {
  const layer = layerNow();
  const order = orderOfLikeness() ?? layer.order(state.view, state.order, answersNow());
  const matches = readFilter(state.filter);
  return matches ? order.filter((index) => matches(factsForFilter(layer, state.view, index, answersNow()))) : order;
}

/** The channels that answer most at the marked place, the strongest first. */
export function strongest(count) {
  const values = answersNow();
  if (!values) return [];
  const finite = [...values.keys()].filter((index) => !Number.isNaN(values[index]));
  return finite.sort((one, other) => values[other] - values[one] || one - other).slice(0, count);
}
