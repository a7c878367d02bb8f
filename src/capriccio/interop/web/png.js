// A saved picture says what made it, in the record that `capriccio` reads, and that no camera was there.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The PNG file `blob` with `text` as an iTXt chunk called `keyword`; source: PNG specification, third edition. */
export async function withText(blob, keyword, text) {
  const AFTER_HEADER = 33; // signature of 8 bytes, IHDR of 25
  const png = new Uint8Array(await blob.arrayBuffer());
  const body = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${text}`);
  const chunk = new Uint8Array(body.length + 8), view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(body.length + 4, checksum(body));
  return new Blob([png.subarray(0, AFTER_HEADER), chunk, png.subarray(AFTER_HEADER)], { type: "image/png" });
}
