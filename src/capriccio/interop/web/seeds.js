// The numbers of a seed, as NumPy's RandomState(seed).randn() draws them: the convention by which a seed is the same
// picture here, on the command line, and in other programs.
//
// Sources: Matsumoto and Nishimura 1998 (the generator MT19937, with the seeding of its 2002 revision), Marsaglia and
// Bray 1964 (the polar method), and NumPy's documentation of what it keeps for old seeds.

const SIZE = 624, SHIFT = 397;

/** The 32-bit generator MT19937. */
export class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(SIZE);
    this.state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const last = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
    this.next = SIZE;
  }

  /** A whole number, 0 … 2³² − 1. */
  uint32() {
    if (this.next === SIZE) this.#twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A number in [0, 1) with 53 bits, of two draws. */
  double() {
    const high = this.uint32() >>> 5, low = this.uint32() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  #twist() {
    const s = this.state;
    for (let i = 0; i < SIZE; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % SIZE] & 0x7fffffff);
      s[i] = s[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}

/** The first `count` Gaussian numbers of `seed`, 0 … 2³² − 1; the second of each pair comes first, as in NumPy. */
export function gaussians(seed, count) {
  const rng = new MersenneTwister(seed), numbers = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    let x, y, r;
    do {
      x = 2 * rng.double() - 1;
      y = 2 * rng.double() - 1;
      r = x * x + y * y;
    } while (r >= 1 || r === 0);
    const f = Math.sqrt((-2 * Math.log(r)) / r);
    numbers[i] = f * y;
    if (i + 1 < count) numbers[i + 1] = f * x;
  }
  return numbers;
}

/** The latent a share `t` of the way from one to another along the great circle; its length stays typical. */
export function between(a, b, t) {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) { dot += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i]; }
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(aa * bb))));
  if (angle < 1e-6) return a;
  const ka = Math.sin((1 - t) * angle) / Math.sin(angle), kb = Math.sin(t * angle) / Math.sin(angle);
  return a.map((value, i) => ka * value + kb * b[i]);
}
