/** What an event id says: the layout is in docs/protocol.md. */

const VERSION = 1;
const SEALED = 2;

/** Why a text is no event id that can be read here; `code`: empty, text, sealed, version, checksum or malformed. */
export class IdError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Reads an event id; throws an `IdError` where it cannot be read. Layout: docs/protocol.md. */
export function decodeId(text) {
  const bytes = bytesOf(text);
  const version = bytes[0];
  if (version === SEALED) throw new IdError("sealed", "The id is sealed: only the server can read it.");
  if (version !== VERSION) throw new IdError("version", `The id is of version ${version}. This page reads version ${VERSION}: it is of a newer release, or no event id.`);
  let at = 1;
  const end = bytes.length - 2; // a checksum ends it
  if (end < 1 || checksum(bytes.subarray(0, end)) !== ((bytes[end] << 8) | bytes[end + 1])) {
    throw new IdError("checksum", "The id's checksum does not match: it was cut off or changed.");
  }
  const byte = () => {
    if (at >= end) throw new IdError("malformed", "The id ends too early.");
    return bytes[at++];
  };
  const varint = () => {
    // Not by shifts: offsets pass 32 bits.
    for (let value = 0, scale = 1; ; scale *= 128) {
      const next = byte();
      value += (next & 127) * scale;
      if (next < 128) return value;
    }
  };
  const hex = (length) => Array.from({ length }, () => byte().toString(16).padStart(2, "0")).join("");
  const refreshed = Date.UTC(2024, 0, 1) + ((byte() << 16) | (byte() << 8) | byte()) * 60_000;
  const parts = Array.from({ length: varint() }, () => {
    const part = { name: hex(3), incarnation: hex(3), offsets: [] };
    for (let left = varint(); left > 0; left--) part.offsets.push(varint() - 1);
    return part;
  });
  const { topics, bounds } = withoutBounds(parts);
  return { version, refreshed, parts: topics, bounds, length: text.length };
}

function bytesOf(text) {
  if (!text) throw new IdError("empty", "There is no id.");
  if (!/^[\w-]+$/.test(text)) throw new IdError("text", "An event id consists of letters, digits, - and _ alone.");
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  } catch {
    throw new IdError("text", "The id is not base64url: it was cut off or changed.");
  }
}

// CRC-16/IBM-SDLC.
function checksum(bytes) {
  let sum = 0xffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >> 1) ^ 0x8408 : sum >> 1;
  }
  return sum ^ 0xffff;
}

// Of a snapshot, a topic has a second part, with its name's bytes inverted: up to where only the newest of each key comes.
function withoutBounds(parts) {
  const topics = [];
  const bounds = [];
  for (const part of parts) {
    const name = (~Number.parseInt(part.name, 16) & 0xffffff).toString(16).padStart(6, "0");
    const isBound = topics.some((topic) => topic.name === name && topic.incarnation === part.incarnation);
    if (isBound) bounds.push({ ...part, name });
    else topics.push(part);
  }
  return { topics, bounds };
}

/** The first three bytes of XXH64, seed 0, as hex: what an id says of a topic's name. */
export function fingerprint(text) {
  const bytes = new TextEncoder().encode(text);
  const view = new DataView(bytes.buffer);
  const [p1, p2, p3, p4, p5] = [11400714785074694791n, 14029467366897019727n, 1609587929392839161n, 9650029242287828579n, 2870177450012600261n];
  const cut = (n) => BigInt.asUintN(64, n);
  const turn = (n, by) => cut((n << BigInt(by)) | (n >> BigInt(64 - by)));
  const round = (sum, word) => cut(turn(cut(sum + word * p2), 31) * p1);
  let at = 0;
  let hash;
  if (bytes.length >= 32) {
    const sums = [cut(p1 + p2), p2, 0n, cut(-p1)];
    for (; at + 32 <= bytes.length; at += 32) sums.forEach((sum, i) => (sums[i] = round(sum, view.getBigUint64(at + i * 8, true))));
    hash = cut(turn(sums[0], 1) + turn(sums[1], 7) + turn(sums[2], 12) + turn(sums[3], 18));
    for (const sum of sums) hash = cut((hash ^ round(0n, sum)) * p1 + p4);
  } else {
    hash = p5;
  }
  hash = cut(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8) hash = cut(turn(hash ^ round(0n, view.getBigUint64(at, true)), 27) * p1 + p4);
  if (at + 4 <= bytes.length) {
    hash = cut(turn(hash ^ cut(BigInt(view.getUint32(at, true)) * p1), 23) * p2 + p3);
    at += 4;
  }
  for (; at < bytes.length; at++) hash = cut(turn(hash ^ cut(BigInt(bytes[at]) * p5), 11) * p1);
  hash = cut((hash ^ (hash >> 33n)) * p2);
  hash = cut((hash ^ (hash >> 29n)) * p3);
  hash ^= hash >> 32n;
  return hash.toString(16).padStart(16, "0").slice(0, 6);
}

/** The names behind the fingerprints in ids: of topics that were met, and of those that the server lists. */
export class TopicNames {
  #names = new Map(); // fingerprint -> name

  /** A topic that a record came from: certain. */
  meet(name) {
    this.#names.set(fingerprint(name), name);
  }

  /** Topics that the server lists. Two names with one fingerprint are not told apart before one of them is met. */
  learn(names) {
    const prints = names.map(fingerprint);
    prints.forEach((print, i) => {
      const isAlone = prints.indexOf(print) === prints.lastIndexOf(print);
      if (isAlone && !this.#names.has(print)) this.#names.set(print, names[i]);
    });
  }

  has(print) {
    return this.#names.has(print);
  }

  /** undefined where it is not known. */
  of(print) {
    return this.#names.get(print);
  }

  /** Topic name -> offsets, of the topics in an id whose names are known and stand in it once. */
  positionsOf(id) {
    const positions = new Map();
    const twice = new Set();
    for (const part of decodeId(id).parts) {
      const name = this.#names.get(part.name);
      if (positions.has(name)) twice.add(name);
      positions.set(name, part.offsets);
    }
    for (const name of twice) positions.delete(name);
    return positions;
  }
}
