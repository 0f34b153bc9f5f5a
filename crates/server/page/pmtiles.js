// A reader of PMTiles, version 3 (https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md): one file of map tiles, of
// which only what is seen is read, by range requests.

const HEAD = 127;
const [GZIP, NONE] = [2, 1];
const VECTOR = 1;

export class PmTiles {
  constructor(url) {
    this.url = url;
    this.directories = new Map();
  }

  async read(offset, length) {
    const response = await fetch(this.url, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
    if (response.status !== 206) throw new Error(`status ${response.status} of the base map`);
    return response.arrayBuffer();
  }

  /** What the file says of itself. */
  head() {
    this.reading ??= this.readHead();
    return this.reading;
  }

  async readHead() {
    const view = new DataView(await this.read(0, HEAD));
    const text = new TextDecoder().decode(new Uint8Array(view.buffer, 0, 7));
    if (text !== "PMTiles" || view.getUint8(7) !== 3) throw new Error("not a PMTiles file of version 3");
    const u64 = (at) => Number(view.getBigUint64(at, true));
    const degrees = (at) => view.getInt32(at, true) / 1e7;
    return {
      root: [u64(8), u64(16)], metadata: [u64(24), u64(32)], leaves: u64(40), tiles: u64(56),
      packed: view.getUint8(97), tilesPacked: view.getUint8(98), vector: view.getUint8(99) === VECTOR,
      minZoom: view.getUint8(100), maxZoom: view.getUint8(101),
      bounds: [degrees(102), degrees(106), degrees(110), degrees(114)],
    };
  }

  async metadata() {
    const head = await this.head();
    const bytes = await unpack(await this.read(...head.metadata), head.packed);
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  /** The bytes of a tile; empty where there is none. */
  async tile(z, x, y) {
    const head = await this.head();
    const id = tileId(z, x, y);
    let [offset, length] = head.root;
    // A root and three levels of leaves are the most that the format allows.
    for (let depth = 0; depth < 4; depth += 1) {
      const entry = find(await this.directory(offset, length), id);
      if (!entry) break;
      if (entry.run > 0) {
        return unpack(await this.read(head.tiles + entry.offset, entry.length), head.tilesPacked);
      }
      [offset, length] = [head.leaves + entry.offset, entry.length];
    }
    return new ArrayBuffer(0);
  }

  directory(offset, length) {
    if (!this.directories.has(offset)) {
      if (this.directories.size > 64) this.directories.delete(this.directories.keys().next().value);
      const reading = this.head().then(async (head) => entries(await unpack(await this.read(offset, length), head.packed)));
      this.directories.set(offset, reading);
    }
    return this.directories.get(offset);
  }
}

async function unpack(buffer, how) {
  if (how === NONE) return buffer;
  if (how !== GZIP) throw new Error("this compression of PMTiles is not read: use gzip or none");
  return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** A directory: columns of variable-length integers. */
function entries(buffer) {
  const data = new Uint8Array(buffer);
  let at = 0;
  const next = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = data[at++];
      if (byte === undefined) throw new Error("a directory of the base map is cut off");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const list = Array.from({ length: next() }, () => ({}));
  let id = 0;
  for (const entry of list) entry.id = id += next();
  for (const entry of list) entry.run = next();
  for (const entry of list) entry.length = next();
  list.forEach((entry, i) => {
    const value = next();
    entry.offset = value === 0 && i > 0 ? list[i - 1].offset + list[i - 1].length : value - 1;
  });
  return list;
}

/** The entry that covers a tile. */
function find(list, id) {
  let [low, high] = [0, list.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (list[middle].id <= id) low = middle + 1;
    else high = middle - 1;
  }
  const entry = list[high];
  return entry && (entry.run === 0 || id < entry.id + entry.run) ? entry : null;
}

/** The number of a tile along a Hilbert curve, after those of all zooms before. */
export function tileId(z, x, y) {
  let id = (4 ** z - 1) / 3;
  for (let side = 2 ** (z - 1); side >= 1; side /= 2) {
    const [right, lower] = [Math.floor(x / side) % 2, Math.floor(y / side) % 2];
    id += side * side * ((3 * right) ^ lower);
    if (lower === 0) {
      if (right === 1) [x, y] = [side - 1 - (x % side), side - 1 - (y % side)];
      [x, y] = [y, x];
    }
  }
  return id;
}
