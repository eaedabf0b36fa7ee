import { colourAt, hexColour } from './colours.js';
import { element, formatValue, header, layerNow, make, photoOf, state } from './state.js';
import { markedValue } from './shown.js';

// ---- How a value of a first layer is computed: pixels times weights, one product after another ------------------------------------

const INPUT_COLOURS = ['red', 'green', 'blue'];
const PRODUCT_PACE = 350; // milliseconds for each product while it plays
const ROUNDING = 2e-5; // share of the summed sizes of the products: rounding of float32 sums of up to 363 products

/**
 * The products that make a value.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} photo red, green, blue, alpha of each pixel
 * @param {{weights: Float32Array, size: number[], factors: number[], offsets: number[]}} kernel of one channel: row, column, colour
 * @param {number[]} corner row and column of the window's first pixel, which may lie outside
 * @returns in the kernel's order: where each pixel is, its 0 to 255 or null outside, what the kernel reads of it, the weight, the product
 */
function productsOf(photo, { weights, size: [, columns], factors, offsets }, [top, left]) {
  return Array.from(weights, (weight, place) => {
    const colour = place % 3;
    const [row, column] = [top + Math.floor(place / 3 / columns), left + (Math.floor(place / 3) % columns)];
    const inside = row >= 0 && row < photo.height && column >= 0 && column < photo.width;
    const pixel = inside ? photo.data[4 * (row * photo.width + column) + colour] : null;
    const read = inside ? pixel * factors[colour] - offsets[colour] : 0; // beyond the photo there are zeros
    return { row, column, colour, pixel, read, weight, product: read * weight };
  });
}

/** Whether products and a bias make a value, but for rounding and how the page stores it. */
function makesValue(products, bias, value, tolerance, clips) {
  const sum = products.reduce((total, { product }) => total + product, bias);
  const size = products.reduce((total, { product }) => total + Math.abs(product), Math.abs(bias));
  return Math.abs((clips ? Math.max(0, sum) : sum) - value) <= tolerance + ROUNDING * size;
}

const photoData = new Map();

/** The photo's pixels as the model saw them. */
function readPhoto() {
  const photo = photoOf(layerNow());
  if (!photoData.has(photo)) {
    const [height, width] = header.photo;
    const canvas = Object.assign(make('canvas'), { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(photo, 0, 0);
    photoData.set(photo, context.getImageData(0, 0, width, height));
  }
  return photoData.get(photo);
}

let walked = null; // products, bias and how many of them are summed
let productTimer = null;

/** The kernel's window at the marked value, where the layer reads the photo and the page knows all that it needs. */
async function windowNow() {
  const layer = layerNow();
  const [place, [rows, columns]] = [markedValue(), layer.kernelSize];
  if (state.channel === null || !place || !layer.kernels || !layer.bias || !layer.factors) return null;
  if (!layer.field || layer.field[0] !== rows || layer.field.at(-1) !== columns) return null; // dilated, or more than the convolution
  const [left, top] = layer.seen(place.row, place.column).map(Math.round);
  const count = 3 * rows * columns;
  const kernel = {
    weights: layer.kernels.subarray(count * state.channel, count * (state.channel + 1)),
    size: layer.kernelSize, factors: layer.factors, offsets: layer.offsets,
  };
  const products = productsOf(readPhoto(), kernel, [top, left]);
  const bias = layer.bias[state.channel];
  const value = await layer.value(state.view, state.channel, place.row, place.column);
  const clips = state.view === 'relu' && layer.activation === 'relu';
  if (state.view === 'relu' && !clips && layer.activation !== 'linear') return null; // another activation
  if (!makesValue(products, bias, value, layer.tolerance(state.view, state.channel), clips)) return null;
  return { products, bias, value, clips, columns };
}

/** Show the window, every product of it summed. */
export async function showConvolution() {
  stopProducts();
  const found = await windowNow();
  element('convolution').hidden = !found;
  walked = found && { ...found, step: found.products.length };
  if (walked) drawProducts();
}

function stopProducts() {
  clearInterval(productTimer);
  productTimer = null;
  element('convolution-play').setAttribute('aria-pressed', 'false');
}

function stepProducts(change) {
  if (!walked) return;
  const last = walked.products.length;
  walked.step = Math.min(last, Math.max(0, (change === 1 && walked.step === last ? 0 : walked.step) + change));
  if (walked.step === last) stopProducts();
  drawProducts();
}

function playProducts() {
  if (productTimer !== null) return stopProducts();
  element('convolution-play').setAttribute('aria-pressed', 'true');
  productTimer = setInterval(() => stepProducts(1), PRODUCT_PACE);
  return stepProducts(1);
}

const brief = (value) => formatValue(value, 4);

function drawProducts() {
  const { products, bias, value, clips, columns, step: done } = walked;
  const most = Math.max(...products.map(({ product }) => Math.abs(product))) || 1;
  const tables = INPUT_COLOURS.map((name, colour) => {
    const table = make('table');
    table.append(make('caption', name));
    const own = products.map((each, place) => ({ ...each, place })).filter((each) => each.colour === colour);
    for (let first = 0; first < own.length; first += columns) {
      const line = table.insertRow();
      for (const each of own.slice(first, first + columns)) line.append(cellOf(each, most, done));
    }
    return table;
  });
  element('products').replaceChildren(...tables);
  const sum = products.slice(0, done).reduce((total, { product }) => total + product, 0);
  const latest = products[done - 1];
  element('product').textContent = latest && done < products.length
    ? `${INPUT_COLOURS[latest.colour]} of row ${latest.row}, column ${latest.column}: ${productInWords(latest)}` : `All ${products.length} products`;
  const whole = done === products.length;
  element('sum').textContent = whole
    ? `${brief(sum)} + bias ${brief(bias)} = ${brief(sum + bias)}${clips ? `; ReLU: ${brief(Math.max(0, sum + bias))}` : ''} (the page holds ${brief(value)})`
    : `${done} of ${products.length} products: ${brief(sum)}`;
}

function cellOf({ place, weight, product, pixel, read }, most, done) {
  const cell = make('td', brief(product));
  cell.title = productInWords({ pixel, read, weight, product });
  if (place < done) {
    cell.style.background = hexColour(colourAt('diverging', (product / most + 1) / 2));
    cell.style.color = Math.abs(product / most) > 0.54 ? '#fff' : '#111';
  }
  if (place === done - 1) cell.className = 'latest';
  return cell;
}

function productInWords({ pixel, read, weight, product }) {
  const from = pixel === null ? 'outside the photo 0' : read === pixel ? `pixel ${pixel}` : `pixel ${pixel}, read as ${brief(read)},`;
  return `${from} \u00d7 weight ${brief(weight)} = ${brief(product)}`;
}

export function connectConvolution() {
  element('convolution-back').addEventListener('click', () => { stopProducts(); stepProducts(-1); });
  element('convolution-step').addEventListener('click', () => { stopProducts(); stepProducts(1); });
  element('convolution-play').addEventListener('click', playProducts);
}
