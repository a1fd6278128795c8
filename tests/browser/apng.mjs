// Makes one PNG of at most 256 colours of several, animated if there are more than one (PNG, third edition: acTL, fcTL, fdAT).

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
const CHANNELS = { 2: 3, 6: 4 }; // by colour type; other types are not read
/** Stands for "as it was" in frames after the first. */
const UNCHANGED = 255;

/** The pixels of a PNG as a browser makes it: 8 bits a channel, not interlaced. */
export function decode(png) {
  let header;
  const pieces = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (type === "IHDR") header = { width: data.readUInt32BE(0), height: data.readUInt32BE(4), channels: CHANNELS[data[9]] };
    if (type === "IDAT") pieces.push(data);
    at += 12 + length;
  }
  return { ...header, rgb: unfilter(inflateSync(Buffer.concat(pieces)), header) };
}

function unfilter(raw, { width, height, channels }) {
  const stride = width * channels;
  const lines = Buffer.alloc(stride * height);
  const rgb = new Uint32Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= channels ? lines[y * stride + x - channels] : 0;
      const up = y ? lines[(y - 1) * stride + x] : 0;
      const corner = y && x >= channels ? lines[(y - 1) * stride + x - channels] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      lines[y * stride + x] = raw[y * (stride + 1) + 1 + x] + guess;
    }
    for (let x = 0; x < width; x++) {
      const at = y * stride + x * channels;
      rgb[y * width + x] = (lines[at] << 16) | (lines[at + 1] << 8) | lines[at + 2];
    }
  }
  return rgb;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [left, up, corner].map((value) => Math.abs(guess - value));
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** @param {{width: number, height: number, rgb: Uint32Array, delay: number}[]} frames  delay: how long it is shown, in milliseconds */
export function encode(frames) {
  const [{ width, height }] = frames;
  const palette = choose(frames);
  const nearest = nearestIn(palette);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colours = Buffer.alloc(256 * 3);
  palette.forEach((colour, i) => colours.writeUIntBE(colour, i * 3, 3));
  const alpha = Buffer.alloc(256, 255);
  alpha[UNCHANGED] = 0;
  const chunks = [chunk("IHDR", header), chunk("PLTE", colours), chunk("tRNS", alpha)];
  if (frames.length > 1) chunks.splice(1, 0, chunk("acTL", numbers(frames.length, 0)));
  let number = 0;
  let before = null;
  for (const { rgb, delay } of frames) {
    const pixels = Uint8Array.from(rgb, nearest);
    const area = before ? changed(before, pixels, width, height) : { x: 0, y: 0, w: width, h: height };
    const data = deflateSync(rows(before, pixels, area, width), { level: 9, memLevel: 9 });
    if (frames.length > 1) {
      const timing = Buffer.from([delay >> 8, delay & 255, 1000 >> 8, 1000 & 255, 0, 1]);
      chunks.push(chunk("fcTL", Buffer.concat([numbers(number++, area.w, area.h, area.x, area.y), timing])));
    }
    chunks.push(before ? chunk("fdAT", Buffer.concat([numbers(number++), data])) : chunk("IDAT", data));
    before = pixels;
  }
  return Buffer.concat([SIGNATURE, ...chunks, chunk("IEND", Buffer.alloc(0))]);
}

/** The most frequent colours, of which none is almost another. */
function choose(frames) {
  const counts = new Map();
  for (const { rgb } of frames) for (const colour of rgb) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const ordered = [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour);
  for (let apart = 24; ; apart -= 4) {
    const chosen = [];
    for (const colour of ordered) {
      if (chosen.length === UNCHANGED) break;
      if (apart <= 0 || chosen.every((other) => distance(colour, other) > apart * apart)) chosen.push(colour);
    }
    if (chosen.length === UNCHANGED || apart <= 0) return chosen;
  }
}

function nearestIn(palette) {
  const known = new Map(palette.map((colour, i) => [colour, i]));
  return (colour) => {
    let found = known.get(colour);
    if (found === undefined) {
      found = palette.reduce((best, other, i) => (distance(colour, other) < distance(colour, palette[best]) ? i : best), 0);
      known.set(colour, found);
    }
    return found;
  };
}

function distance(a, b) {
  const [red, green, blue] = [16, 8, 0].map((shift) => ((a >> shift) & 255) - ((b >> shift) & 255));
  return red * red + green * green + blue * blue;
}

/** The smallest area with all that differs; one pixel where nothing does. */
function changed(before, pixels, width, height) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let i = 0; i < pixels.length; i++) {
    if (pixels[i] === before[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = y;
  }
  return right < 0 ? { x: 0, y: 0, w: 1, h: 1 } : { x: left, y: top, w: right - left + 1, h: bottom - top + 1 };
}

function rows(before, pixels, { x, y, w, h }, width) {
  const lines = Buffer.alloc((w + 1) * h);
  for (let line = 0; line < h; line++) {
    for (let column = 0; column < w; column++) {
      const i = (y + line) * width + x + column;
      lines[line * (w + 1) + 1 + column] = before?.[i] === pixels[i] ? UNCHANGED : pixels[i];
    }
  }
  return lines;
}

const numbers = (...values) => {
  const buffer = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => buffer.writeUInt32BE(value, i * 4));
  return buffer;
};

function chunk(type, data) {
  const content = Buffer.concat([Buffer.from(type, "latin1"), data]);
  return Buffer.concat([numbers(data.length), content, numbers(crc32(content))]);
}
