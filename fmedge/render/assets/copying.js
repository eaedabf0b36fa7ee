import { exactNumber } from './csv.js';
import { element, formatValue, layerNow, state } from './state.js';
import { markedValue } from './shown.js';
import { overview } from './mosaic.js';
import { pointedValue } from './pointing.js';

// ---- Copy a value: layer, channel, row, column and value, with tabs between them, so that spreadsheets take five cells ------

/** Put a text on the clipboard; returns whether it is there. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text); // not where the page has no secure origin, nor in frames without the permission
    return true;
  } catch {
    return copySelected(text);
  }
}

/** The older way, which a key or a click allows everywhere: select the text and copy what is selected. */
function copySelected(text) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  area.className = 'aside';
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus({ preventScroll: true });
  return copied;
}

/** The marked value of the open channel, or in the overview of the tile that the keyboard is at; null where there is none. */
function markedHere() {
  const channel = state.channel ?? overview.order[overview.cursor];
  const place = markedValue();
  return place && channel !== undefined ? { view: state.view, channel, ...place } : null;
}

async function copyFound(found) {
  if (!found) {
    element('spoken').textContent = 'Nothing to copy: point at a value, or mark one in an open channel.';
    return false;
  }
  const { layer, view, channel, row, column } = found;
  const value = await layer.value(view, channel, row, column);
  const text = [layer.name, layer.number(channel), row, column, exactNumber(value)].join('\t');
  const copied = await copyText(text);
  element('spoken').textContent = copied ? `Copied: ${text}` : `The browser does not let this page copy: ${text}`;
  return copied;
}

/** Copy the value under the pointer, else the marked one. */
export async function copyValue() {
  const found = pointedValue();
  const copied = await copyFound(found ?? markedHere());
  const tooltip = element('tooltip');
  if (copied && found && !tooltip.hidden && !tooltip.textContent.endsWith('\ncopied')) tooltip.textContent += '\ncopied';
}

/** Show the marked value of the open channel in the card, with the button that copies it. */
export async function showMarkedValue() {
  const found = state.channel === null ? null : markedHere();
  element('marked-value').hidden = !found;
  element('copy').textContent = 'copy';
  if (!found) return;
  const value = await layerNow().value(found.view, found.channel, found.row, found.column);
  element('marked-text').textContent = `Marked: row ${found.row}, column ${found.column}, value ${formatValue(value)}`;
}

export function connectCopying() {
  element('copy').addEventListener('click', async () => {
    if (await copyFound(markedHere())) element('copy').textContent = 'copied';
  });
}
