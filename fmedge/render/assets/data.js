import { bytesFromBase64, inflate } from './embedded.js';

export function floatsFromBase64(text) {
  const view = new DataView(bytesFromBase64(text).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

// ---- Ways to write a value: fmedge/render/encoding.py describes them -------------------------------------

const SPECIAL_FROM = 4093; // codes of minus infinity, infinity, NaN
const SPECIALS = [-Infinity, Infinity, NaN];

export const FORMATS = {
  '12bit': {
    planeBytes: (size) => [size, Math.ceil(size / 2)],
    decode([high, low], out, { zero, step, offset }) {
      for (let place = 0; place < out.length; place += 1) {
        const code = (high[place] << 4) | ((low[place >> 1] >> (4 * (place & 1))) & 15);
        out[place] = code < SPECIAL_FROM ? (code - zero) * step + offset : SPECIALS[code - SPECIAL_FROM];
      }
    },
  },
  float16: {
    planeBytes: (size) => [size, size],
    decode([high, low], out) {
      const table = halfFloats();
      for (let place = 0; place < out.length; place += 1) out[place] = table[(high[place] << 8) | low[place]];
    },
  },
  float32: {
    planeBytes: (size) => [size, size, size, size],
    decode([first, second, third, fourth], out) {
      const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let place = 0; place < out.length; place += 1) {
        bits[place] = (first[place] << 24) | (second[place] << 16) | (third[place] << 8) | fourth[place];
      }
    },
  },
};

let halves = null;

/** The value of every float of 16 bits (IEEE 754: 1 sign, 5 exponent, 10 fraction bits). */
function halfFloats() {
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : (sign * fraction) / 2 ** 24;
  });
  return halves;
}

// ---- Maps in planes --------------------------------------------------------------------------------------

const KEPT = 8; // channels whose values stay decoded

/** Sum up differences, modulo 256: of every byte to the one on its left, then of these to the one above; each channel by itself. */
export function addNeighbours(plane, { size, columns }) {
  for (let row = 0; row < plane.length; row += columns) {
    for (let place = row + 1; place < row + columns; place += 1) plane[place] += plane[place - 1];
    if (row % size) for (let place = row; place < row + columns; place += 1) plane[place] += plane[place - columns];
  }
  return plane;
}

/** Feature maps in the page's blocks; a chunk is inflated when one of its channels is asked for. */
export class MapSet {
  constructor({ id, chunkChannels, zero, step, offset, differences = false }, [, rows, columns], values) {
    this.id = id;
    this.columns = columns;
    this.size = rows * columns;
    this.differences = differences; // plane 0 holds them
    this.chunkChannels = chunkChannels;
    this.format = FORMATS[values];
    this.planeBytes = this.format.planeBytes(this.size);
    this.scales = step ? { zero: floatsFromBase64(zero), step: floatsFromBase64(step), offset: floatsFromBase64(offset) } : null;
    this.planes = new Map();
    this.decoded = new Map();
  }

  /** A plane of a chunk as a promise of bytes; inflated once. */
  plane(number, chunk) {
    const id = `${this.id}-${number}-${chunk}`;
    if (!this.planes.has(id)) {
      const bytes = inflate(id).then((response) => response.arrayBuffer()).then((buffer) => new Uint8Array(buffer));
      this.planes.set(id, number === 0 && this.differences ? bytes.then((plane) => addNeighbours(plane, this)) : bytes);
    }
    return this.planes.get(id);
  }

  /** Write all values of a channel, row by row; index counts the channels in the page. */
  async decodeInto(out, index) {
    const chunk = Math.floor(index / this.chunkChannels);
    const planes = await Promise.all(this.planeBytes.map((_, number) => this.plane(number, chunk)));
    const own = planes.map((plane, number) => {
      const start = (index % this.chunkChannels) * this.planeBytes[number];
      return plane.subarray(start, start + this.planeBytes[number]);
    });
    this.format.decode(own, out, this.scale(index));
  }

  /** One value of a channel; the channel is not decoded. */
  async valueAt(index, place) {
    const chunk = Math.floor(index / this.chunkChannels);
    const planes = await Promise.all(this.planeBytes.map((_, number) => this.plane(number, chunk)));
    const first = place & ~1; // two values may share a byte
    const starts = this.format.planeBytes(first);
    const own = planes.map((plane, number) => plane.subarray((index % this.chunkChannels) * this.planeBytes[number] + starts[number]));
    const pair = new Float32Array(Math.min(2, this.size - first));
    this.format.decode(own, pair, this.scale(index));
    return pair[place - first];
  }

  /** The upper 8 bits of a channel's codes, and the value in the middle of what each of them may be. */
  async upperBits(index) {
    const start = (index % this.chunkChannels) * this.planeBytes[0];
    const plane = await this.plane(0, Math.floor(index / this.chunkChannels));
    const { zero, step, offset } = this.scale(index);
    const values = Float32Array.from({ length: 256 }, (_, bits) => (Math.min(16 * bits + 7.5, SPECIAL_FROM - 1) - zero) * step + offset);
    return { bytes: plane.subarray(start, start + this.planeBytes[0]), values };
  }

  scale(index) {
    if (!this.scales) return {};
    const { zero, step, offset } = this.scales;
    return { zero: zero[index], step: step[index], offset: offset[index] };
  }

  /** All values of a channel; the last few channels are kept, so do not write into them. */
  async values(index) {
    if (!this.decoded.has(index)) {
      const values = new Float32Array(this.size);
      await this.decodeInto(values, index);
      this.decoded.delete(this.decoded.size < KEPT ? null : this.decoded.keys().next().value);
      this.decoded.set(index, values);
    }
    return this.decoded.get(index);
  }

  /** How far a value may be from the one that was computed: half a step; 0 where all bits are here. */
  tolerance(index) {
    return this.scales ? this.scales.step[index] / 2 : 0;
  }
}
