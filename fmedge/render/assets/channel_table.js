import { element, layerNow, make, pictures, state } from './state.js';
import { isDifference, overPhotos } from './difference.js';
import { download } from './saving.js';
import { channelsAsCsv, FIGURES, inWords, sortChannels } from './channel_figures.js';
import { show } from './viewer.js';

// ---- The channels of a difference in a table: to sort, to open channels from, to save ------------------------------

const sorted = { name: 'snr_db', direction: 'ascending' };
let filled = ''; // what the table shows

function sortTable(name, first) {
  const turned = sorted.direction === 'ascending' ? 'descending' : 'ascending';
  Object.assign(sorted, { name, direction: sorted.name === name ? turned : first });
  showChannelTable();
}

function headOf({ name, text, title, first }) {
  const head = make('th', '', { scope: 'col', title });
  const sorter = make('button', text, { type: 'button' });
  sorter.addEventListener('click', () => sortTable(name, first));
  head.append(sorter);
  return head;
}

function rowOf(layer, index) {
  const row = make('tr', '', { 'data-channel': index });
  const head = make('th', '', { scope: 'row' });
  head.append(make('button', String(layer.number(index)), { type: 'button', 'aria-label': `Open channel ${layer.number(index)}` }));
  row.append(head, ...FIGURES.slice(1).map((figure) => make('td', inWords(figure, layer, index))));
  return row;
}

function openRow({ target }) {
  const row = target.closest('tr');
  if (!row) return;
  show({ channel: Number(row.dataset.channel) }, state.channel === null);
  element('stage').scrollIntoView({ block: 'nearest' });
}

function saveCsv() {
  const layer = layerNow();
  const text = channelsAsCsv(layer, sortChannels(layer, sorted.name, sorted.direction));
  const name = `${pictures[layer.picture].image} ${layer.name}`.replace(/[^\w.+-]+/g, '_').slice(0, 120);
  download(new Blob([text], { type: 'text/csv' }), `${name}.channels.csv`);
}

/** Let an open table show the layer, in the order chosen, with the open channel marked. */
export function showChannelTable() {
  if (!isDifference || !element('channel-table').open) return;
  const layer = layerNow();
  const [heads, body] = [element('channel-heads').rows[0], element('channel-rows')];
  const wanted = JSON.stringify([state.layer, sorted]);
  if (wanted !== filled) {
    element('channel-caption').textContent = `${layer.name}: B against A, channel by channel${overPhotos}`;
    FIGURES.forEach(({ name }, place) => {
      if (name === sorted.name) heads.cells[place].setAttribute('aria-sort', sorted.direction);
      else heads.cells[place].removeAttribute('aria-sort');
    });
    body.replaceChildren(...sortChannels(layer, sorted.name, sorted.direction).map((index) => rowOf(layer, index)));
    filled = wanted;
  }
  for (const row of body.querySelectorAll('[aria-current]')) row.removeAttribute('aria-current');
  if (state.channel !== null) body.querySelector(`[data-channel="${state.channel}"]`).setAttribute('aria-current', 'true');
}

export function connectChannelTable() {
  const table = element('channel-table');
  table.hidden = !isDifference;
  if (!isDifference) return;
  const heads = make('tr');
  heads.append(...FIGURES.map(headOf));
  element('channel-heads').replaceChildren(heads);
  element('channel-rows').addEventListener('click', openRow);
  element('save-csv').addEventListener('click', saveCsv);
  table.addEventListener('toggle', showChannelTable);
  // Arrows scroll the table; the figure's other keys are not meant here, either.
  table.addEventListener('keydown', (event) => event.key !== 'Escape' && event.stopPropagation());
}
