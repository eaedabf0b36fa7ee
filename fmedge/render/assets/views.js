'use strict';
/* exported VIEWS */
/* global cssColour */

// ---- A picture of palette colours, as a BMP: nothing to compress, and a theme is one entry -----------

const SEPARATOR = 255; // palette entry between the tiles; the values take the others
const BMP_HEADER = 54;
const BMP_PALETTE = 4 * 256;

/** An empty picture, all separator, with its pixels; rows run from the bottom up, each padded to 4 bytes. */
function createBitmap(width, height) {
  const stride = (width + 3) & ~3;
  const file = new Uint8Array(BMP_HEADER + BMP_PALETTE + stride * height).fill(SEPARATOR);
  const view = new DataView(file.buffer);
  file.fill(0, 0, BMP_HEADER + BMP_PALETTE);
  view.setUint16(0, 0x4d42, true); // "BM"
  view.setUint32(2, file.length, true);
  view.setUint32(10, BMP_HEADER + BMP_PALETTE, true);
  view.setUint32(14, 40, true); // size of the second header
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true); // planes
  view.setUint16(28, 8, true); // bits per pixel
  return { file, width, height, stride, pixels: file.subarray(BMP_HEADER + BMP_PALETTE) };
}

/** Greys for the values, the page's colour for the gaps. */
function setPalette(bitmap, separator) {
  const palette = bitmap.file.subarray(BMP_HEADER, BMP_HEADER + BMP_PALETTE);
  for (let level = 0; level < SEPARATOR; level += 1) {
    palette.fill(Math.round((level * 255) / (SEPARATOR - 1)), 4 * level, 4 * level + 3);
  }
  const colour = Number.parseInt(separator.slice(1), 16); // #rrggbb; stored blue first
  palette.set([colour & 255, (colour >> 8) & 255, colour >> 16], 4 * SEPARATOR);
}

function bitmapUrl({ file }) {
  if (file.toBase64) return `data:image/bmp;base64,${file.toBase64()}`;
  const parts = [];
  for (let start = 0; start < file.length; start += 32768) {
    parts.push(String.fromCharCode(...file.subarray(start, start + 32768)));
  }
  return `data:image/bmp;base64,${btoa(parts.join(''))}`;
}

// ---- Views: each draws itself and says which value is at a point of its axes -----------------------

/** All channels as one picture, in a grid; the axes count its pixels from the top left corner. */
class Overview {
  constructor(maps) {
    this.maps = maps;
    this.across = Math.ceil(Math.sqrt(maps.channels));
    this.down = Math.ceil(maps.channels / this.across);
    const gap = Math.max(1, Math.round(maps.columns / 40));
    this.pitchX = maps.columns + gap;
    this.pitchY = maps.rows + gap;
    this.width = this.across * this.pitchX - gap;
    this.height = this.down * this.pitchY - gap;
  }

  async draw() {
    this.bitmap = createBitmap(this.width, this.height);
    for (let channel = 0; channel < this.maps.channels; channel += 1) {
      this.paint(channel, await this.maps.channelPlane('high', channel));
    }
    return { data: [], layout: this.layout() };
  }

  corner(channel) {
    return [(channel % this.across) * this.pitchX, Math.floor(channel / this.across) * this.pitchY];
  }

  paint(channel, plane) {
    const { pixels, stride, height } = this.bitmap;
    const { rows, columns } = this.maps;
    const [left, top] = this.corner(channel);
    for (let row = 0; row < rows; row += 1) {
      const start = (height - 1 - top - row) * stride + left;
      for (let column = 0; column < columns; column += 1) {
        pixels[start + column] = Math.min(plane[row * columns + column], SEPARATOR - 1);
      }
    }
  }

  layout() {
    const axis = { visible: false, constrain: 'domain' };
    return {
      margin: { l: 6, r: 6, t: 38, b: 6 },
      dragmode: 'pan',
      xaxis: { ...axis, range: [0, this.width] },
      yaxis: { ...axis, range: [this.height, 0], scaleanchor: 'x' },
      images: [{
        source: this.pictureUrl(), xref: 'x', yref: 'y', x: 0, y: 0, sizex: this.width, sizey: this.height,
        xanchor: 'left', yanchor: 'top', sizing: 'stretch', layer: 'below',
      }],
    };
  }

  pictureUrl() {
    setPalette(this.bitmap, cssColour('--card'));
    return bitmapUrl(this.bitmap);
  }

  themeChanges() {
    return { 'images[0].source': this.pictureUrl() };
  }

  locate(x, y) {
    const [tileX, tileY] = [Math.floor(x / this.pitchX), Math.floor(y / this.pitchY)];
    const [column, row] = [Math.floor(x - tileX * this.pitchX), Math.floor(y - tileY * this.pitchY)];
    const channel = tileY * this.across + tileX;
    const inside = x >= 0 && x < this.width && y >= 0 && column < this.maps.columns && row < this.maps.rows;
    return inside && channel < this.maps.channels ? { channel, row, column } : null;
  }
}

/** One channel as a heatmap; the axes count rows and columns. */
class ChannelView {
  constructor(maps) {
    this.maps = maps;
    this.width = maps.columns;
    this.height = maps.rows;
  }

  async draw() {
    const { rows, columns } = this.maps;
    const values = await this.maps.values(0);
    const z = Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
    const narrow = window.innerWidth < 520;
    const colorbar = { thickness: 14, outlinecolor: 'rgba(128,128,128,0.5)', orientation: narrow ? 'h' : 'v' };
    const colorscale = [[0, '#000'], [1, '#fff']];
    return { data: [{ type: 'heatmap', z, colorscale, colorbar, hoverinfo: 'none' }], layout: this.layout() };
  }

  layout() {
    const axis = { constrain: 'domain', zeroline: false, showgrid: false, ticks: 'outside' };
    return {
      margin: { l: 52, r: 12, t: 38, b: 44 },
      dragmode: 'pan',
      xaxis: { ...axis, title: { text: 'column', standoff: 6 }, range: [-0.5, this.width - 0.5] },
      yaxis: { ...axis, title: { text: 'row', standoff: 6 }, range: [this.height - 0.5, -0.5], scaleanchor: 'x' },
    };
  }

  themeChanges() {
    return {};
  }

  locate(x, y) {
    const [column, row] = [Math.round(x), Math.round(y)];
    const inside = column >= 0 && column < this.maps.columns && row >= 0 && row < this.maps.rows;
    return inside ? { channel: 0, row, column } : null;
  }
}

const VIEWS = { overview: Overview, channel: ChannelView };
