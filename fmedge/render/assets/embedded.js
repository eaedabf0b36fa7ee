// ---- Blocks of the page: base64 of a zlib stream in a script element of type text/plain -----------

const OLD_BROWSER = 'this browser is too old. Chrome 80, Edge 80, Firefox 113, Safari 16.4 or a later one draws it.';

export function bytesFromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

let there = null; // blocks that stand before the script; others may still be on their way

/** When the whole document is there. */
function parsed() {
  if (document.readyState !== 'loading') return null;
  return new Promise((resolve) => { document.addEventListener('DOMContentLoaded', resolve, { once: true }); });
}

/** Inflate a data block, once it is there; its base64 leaves the document. */
export async function inflate(id) {
  if (!window.DecompressionStream) throw new Error(OLD_BROWSER);
  there ??= new Set([...document.querySelectorAll('script[type="text/plain"]')].map((each) => each.id));
  if (!there.has(id)) await parsed();
  const block = document.getElementById(id);
  const bytes = bytesFromBase64(block.textContent);
  block.textContent = '';
  // Written at once: through a Blob's stream, which comes in small pieces, browsers take four times as long.
  const stream = new DecompressionStream('deflate');
  const writer = stream.writable.getWriter();
  for (const done of [writer.write(bytes), writer.close()]) done.catch(() => {}); // whoever reads hears of what fails
  return new Response(stream.readable);
}

// ---- Plotly ------------------------------------------------------------------------------------------

/** Of every chart. Buttons are named one by one: Plotly's own choice holds one that uploads the chart to its company. */
export const BASE_CONFIG = { responsive: true, displaylogo: false, plotlyServerURL: '' };

/** Of the figures of maps. */
export const FIGURE_BUTTONS = [['toImage'], ['zoom2d', 'pan2d'], ['zoomIn2d', 'zoomOut2d', 'resetScale2d']];

/** Run the embedded plotly.js, where it is not loaded already; the page's Content-Security-Policy allows exactly this text. */
export async function loadPlotly() {
  if (window.Plotly) return;
  if (!document.getElementById('plotly')) throw new Error(`plotly.js was not found at ${document.querySelector('script[src]').getAttribute('src')}`);
  const response = await inflate('plotly');
  const script = document.createElement('script');
  script.textContent = await response.text();
  document.head.append(script);
}

export function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The part of a layout that depends on light or dark. */
export function themeLayout(plot) {
  const [ink, clear] = [cssColour('--soft'), 'rgba(0,0,0,0)'];
  return {
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    font: { color: ink, family: getComputedStyle(plot).fontFamily },
    modebar: { color: ink, activecolor: cssColour('--accent'), bgcolor: clear },
  };
}
