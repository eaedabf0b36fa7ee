'use strict';
/* exported DECODERS */
/* global bytesFromBase64, inflate */

function floatsFromBase64(text) {
  const view = new DataView(bytesFromBase64(text).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

/** Feature maps of 12 bits per value in two planes; fmedge/render/encoding.py describes them. */
class PlaneMaps {
  constructor({ shape, firstChannel, chunkChannels, offset, step }) {
    [this.channels, this.rows, this.columns] = shape;
    this.firstChannel = firstChannel;
    this.chunkChannels = chunkChannels;
    this.offset = floatsFromBase64(offset);
    this.step = floatsFromBase64(step);
    this.chunks = Math.ceil(this.channels / chunkChannels);
    this.planes = new Map();
  }

  /** A plane of a chunk as a promise of bytes; inflated once. */
  plane(name, chunk) {
    const id = `${name}-${chunk}`;
    if (!this.planes.has(id)) {
      this.planes.set(id, inflate(id).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
    }
    return this.planes.get(id);
  }

  /** The part of a plane that is one channel's; index counts the channels in the page. */
  async channelPlane(name, index) {
    const size = this.rows * this.columns;
    const bytes = name === 'high' ? size : Math.ceil(size / 2);
    const start = (index % this.chunkChannels) * bytes;
    const plane = await this.plane(name, Math.floor(index / this.chunkChannels));
    return plane.subarray(start, start + bytes);
  }

  /** All values of a channel, row by row. */
  async values(index) {
    const high = await this.channelPlane('high', index);
    const low = await this.channelPlane('low', index);
    const [offset, step] = [this.offset[index], this.step[index]];
    return Float32Array.from(high, (bits, place) => codeAt(bits, low, place) * step + offset);
  }

  async value(index, row, column) {
    const high = await this.channelPlane('high', index);
    const low = await this.channelPlane('low', index);
    const place = row * this.columns + column;
    return Math.fround(codeAt(high[place], low, place) * this.step[index] + this.offset[index]);
  }
}

function codeAt(highBits, low, place) {
  return (highBits << 4) | ((low[place >> 1] >> (4 * (place & 1))) & 15);
}

const DECODERS = { 'u12-planes': PlaneMaps };
