import { element, formatValue, layerNow, make, state } from './state.js';
import { answersNow, markedValue, strongest } from './shown.js';
import { show } from './viewer.js';

// ---- Which channels answer most at the marked place --------------------------------------------------------------------------

const LISTED = 12;

/** List them, each as a button that opens the channel, with a bar as long as its value. */
export function showStrongest() {
  const place = markedValue();
  element('strongest').hidden = !place || layerNow().channels < 2;
  if (!place) return;
  const [values, best] = [answersNow(), strongest(LISTED)];
  const most = Math.max(...best.map((index) => Math.abs(values[index]))) || 1;
  element('strongest-title').textContent = `Strongest at row ${place.row}, column ${place.column}`;
  element('strongest-list').replaceChildren(...best.map((index) => {
    const button = make('button', '', { type: 'button', 'aria-pressed': index === state.channel });
    const bar = make('span', '', { class: 'bar' });
    bar.style.width = `${(100 * Math.abs(values[index])) / most}%`;
    button.append(bar, make('span', `channel ${layerNow().number(index)}`), make('span', formatValue(values[index], 4)));
    button.addEventListener('click', () => show({ channel: index }, state.channel === null));
    const item = make('li');
    item.append(button);
    return item;
  }));
}
