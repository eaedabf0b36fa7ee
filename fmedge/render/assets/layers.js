import { floatsFromBase64, MapSet } from './data.js';

/** Ways to order channels: by which statistic, and whether the smallest comes first. */
export const ORDERS = {
  index: null,
  mean: { statistic: 'mean' },
  max: { statistic: 'largest' },
  spread: { statistic: 'spread' },
  sparsity: { statistic: 'zeros' },
  worst: { statistic: 'snr', smallestFirst: true },
  place: { statistic: 'answers' },
  like: null, // likeness.js
  clustered: null,
};

/** Steps of 12 bits that a channel's colours span at least, for its upper 8 bits to be within 1 % of them. */
const LEAST_STEPS = 1600;

/** Of a difference, B is A and the error together. */
const PARTS = { raw: ['maps'], relu: ['maps'], a: ['a'], error: ['error'], b: ['a', 'error'] };

/** Views whose values share their colours: A and B have to look alike where they are alike. */
const ALIKE = { a: ['a', 'b'], b: ['a', 'b'] };

/** A layer in the page: its values in every view, and what is known of its channels. Indices count channels in the page. */
export class Layer {
  constructor(facts, header) {
    this.name = facts.name;
    this.shape = facts.shape;
    this.channels = facts.shape[0];
    this.rows = facts.shape[1];
    this.columns = facts.shape[2];
    this.firstChannel = facts.firstChannel;
    this.activation = facts.activation ?? 'relu';
    this.words = { ...header.viewWords, ...facts.words };
    this.clips = header.views.includes('raw') && this.activation === 'relu'; // the page holds values before ReLU
    this.step = facts.step;
    this.start = facts.start ?? [0, 0];
    this.field = facts.field && [facts.field].flat(); // height and width; one number for both
    this.picture = facts.picture ?? 0; // number of its photo
    this.companions = [this]; // this layer of every photo
    this.kernels = facts.kernel ? floatsFromBase64(facts.kernel) : null;
    this.kernelSize = facts.kernelSize ?? [3, 3]; // rows and columns
    this.bias = facts.bias ? floatsFromBase64(facts.bias) : null;
    this.factors = facts.factors; // the kernels read value * factor - offset of red, green and blue
    this.offsets = facts.offsets;
    this.errors = facts.errors && Object.fromEntries(Object.entries(facts.errors).map(([name, text]) => [name, floatsFromBase64(text)]));
    this.snr = this.errors?.snr ?? null;
    this.statistics = Object.fromEntries(Object.entries(facts.statistics).map(([view, found]) => [
      view,
      Object.fromEntries(Object.entries(found).map(([name, text]) => [name, floatsFromBase64(text)])),
    ]));
    this.sets = Object.fromEntries(
      Object.entries(facts.sets).map(([name, set]) => [name, new MapSet(set, facts.shape, header.values)]),
    );
  }

  number(index) {
    return this.firstChannel + index;
  }

  has(index) {
    return Number.isInteger(index) && index >= 0 && index < this.channels;
  }

  /** All values of a channel in a view; given scratch, they are written there. */
  async values(view, index, scratch = null) {
    const [part, added] = PARTS[view].map((name) => this.sets[name]);
    const clips = view === 'relu' && this.clips;
    if (!scratch && !added && !clips) return part.values(index);
    const out = scratch ?? new Float32Array(this.rows * this.columns);
    await part.decodeInto(out, index);
    if (added) {
      const error = await added.values(index);
      for (let place = 0; place < out.length; place += 1) out[place] += error[place];
    }
    if (clips) {
      for (let place = 0; place < out.length; place += 1) if (out[place] < 0) out[place] = 0;
    }
    return out;
  }

  /**
   * The values of a channel as the mosaic needs them: a byte for each, and the value that each byte stands for. Null where the colours
   * span so few steps that bytes would tell too little, and where values are no finite numbers or the sum of two.
   */
  async shades(view, index, [low, high]) {
    const [part, added] = PARTS[view].map((name) => this.sets[name]);
    if (added || !part.scales || this.statistics[view].broken[index]) return null;
    if (high - low < LEAST_STEPS * part.scale(index).step) return null;
    const { bytes, values } = await part.upperBits(index);
    return { bytes, values: view === 'relu' && this.clips ? values.map((value) => Math.max(0, value)) : values };
  }

  async value(view, index, row, column) {
    const [part, added] = PARTS[view].map((name) => this.sets[name]);
    const place = row * this.columns + column;
    let value = await part.valueAt(index, place);
    if (added) value += await added.valueAt(index, place);
    return view === 'relu' && this.clips && value < 0 ? 0 : value;
  }

  tolerance(view, index) {
    return PARTS[view].reduce((sum, name) => sum + this.sets[name].tolerance(index), 0);
  }

  /** The smallest and the largest finite value of a channel; without an index, of all channels. */
  extremes(view, index = null) {
    const { smallest, largest } = this.statistics[view];
    if (index !== null) return [smallest[index], largest[index]];
    return [smallest.reduce((one, other) => Math.min(one, other)), largest.reduce((one, other) => Math.max(one, other))];
  }

  /** What the darkest and the brightest colour stand for, in all photos. An error is as far from zero on either side. */
  range(view, index, { scale, colours }) {
    const alike = ALIKE[view] ?? [view];
    const ranges = this.companions.flatMap((layer) => alike.map((each) => layer.extremes(each, scale === 'own' ? index : null)));
    const low = Math.min(...ranges.map(([least]) => least));
    const high = Math.max(...ranges.map(([, most]) => most));
    if (colours !== 'diverging' && view !== 'error') return [low, high];
    const most = Math.max(-low, high);
    return [-most, most];
  }

  /** Nothing of the channel is above zero: ReLU leaves nothing. Of differences and other activations nothing is said. */
  isDead(index) {
    if (this.activation !== 'relu') return false;
    const { largest, broken } = this.statistics.relu ?? this.statistics.raw ?? {};
    return largest !== undefined && !(largest[index] > 0) && broken[index] === 0;
  }

  /** What every channel answers at a place: its value there. */
  async answers(view, { row, column }) {
    return Promise.all(Array.from({ length: this.channels }, (_, index) => this.value(view, index, row, column)));
  }

  /**
   * The channels in an order.
   * @param {string} view
   * @param {string} name
   * @param {number[] | null} answers values at the marked place, by which 'place' orders
   */
  order(view, name, answers = null) {
    const indices = Array.from({ length: this.channels }, (_, index) => index);
    const way = ORDERS[name];
    if (!way || (name === 'place' && !answers)) return indices;
    const values = { snr: this.snr, answers }[way.statistic] ?? this.statistics[view][way.statistic];
    const sign = way.smallestFirst ? 1 : -1;
    return indices.sort((one, other) => sign * (values[one] - values[other]) || one - other);
  }

  /** Left, top, right, bottom of a value on the photo, in its pixels. */
  cell(row, column) {
    const [[high, wide], [top, left]] = [this.step, this.start];
    return [left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high];
  }

  /** The same of what the value sees: its receptive field, or where that is not known, the value's own place. */
  seen(row, column) {
    const [left, top, right, bottom] = this.cell(row, column);
    if (!this.field) return [left, top, right, bottom];
    const [x, y, high, wide] = [(left + right) / 2, (top + bottom) / 2, this.field[0], this.field.at(-1)];
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2];
  }

  /** Row and column of the value at a place of the photo; null beyond the maps. */
  at(x, y) {
    const [row, column] = [y, x].map((place, axis) => Math.floor((place - this.start[axis]) / this.step[axis]));
    return row >= 0 && row < this.rows && column >= 0 && column < this.columns ? { row, column } : null;
  }
}
