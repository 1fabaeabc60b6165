// Pictures made from a name only: always the same, and real pictures for the server and for the eye.
import { crc32, deflateSync } from "node:zlib";

const chunk = (type, data) => {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
};

/** A PNG whose pixels are `colour(x, y)`, each from 0 to 1. */
function png(width, height, colour) {
  const lines = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      colour(x / width, y / height).forEach(
        (part, at) => (lines[y * (1 + width * 3) + 1 + x * 3 + at] = Math.round(255 * Math.min(1, Math.max(0, part)))),
      );
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const mix = (from, to, share) => from.map((part, at) => part + (to[at] - part) * share);

/** Hills or waves under a low sun; the name decides about the sun's place and the colours. */
const SCENES = {
  harbour: {
    sky: [
      [0.98, 0.75, 0.55],
      [0.55, 0.68, 0.85],
    ],
    near: [0.09, 0.2, 0.3],
    far: [0.42, 0.55, 0.66],
    sun: [0.68, 0.4],
    steep: 0.035,
  },
  hills: {
    sky: [
      [0.98, 0.86, 0.7],
      [0.62, 0.78, 0.9],
    ],
    near: [0.13, 0.25, 0.17],
    far: [0.6, 0.7, 0.66],
    sun: [0.3, 0.34],
    steep: 0.16,
  },
  dusk: {
    sky: [
      [0.95, 0.5, 0.4],
      [0.25, 0.22, 0.42],
    ],
    near: [0.07, 0.06, 0.14],
    far: [0.4, 0.26, 0.42],
    sun: [0.5, 0.5],
    steep: 0.1,
  },
};

export function picture(name, width = 960, height = 640) {
  const { sky, near, far, sun, steep } = SCENES[name];
  const ridges = [0, 1, 2, 3, 4].map((row) => {
    const edge = (x) =>
      0.52 +
      row * 0.1 +
      steep * (1 - row / 7) * (Math.sin(x * (5 + row * 2) + row * 2.1) + 0.5 * Math.sin(x * (13 - row) + row * 4.7));
    return [edge, mix(far, near, row / 4)];
  });
  return png(width, height, (x, y) => {
    const ridge = ridges.findLast(([edge]) => y > edge(x));
    if (ridge) return ridge[1];
    const distance = Math.hypot((x - sun[0]) * (width / height), y - sun[1]);
    const glow = distance < 0.06 ? 1 : 0.5 * Math.exp(-distance * 5);
    return mix(mix(sky[1], sky[0], Math.min(1, y * 1.7)), [1, 0.96, 0.86], glow);
  });
}
