// An image under the brush: its pixels, and which of them are missing.

/** `pixels` an ImageData of the model's size, `missing` a boolean for each pixel. */
export function blank([, height, width]) {
  const pixels = new ImageData(width, height);
  for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
  return { pixels, missing: new Array(height * width).fill(false) };
}

const mask = (of) => ([, height, width]) =>
  Array.from({ length: height * width }, (_, i) => of(Math.floor(i / width), i % width, height, width));

export const PRESETS = {
  "lower half": mask((row, _, height) => row >= height / 2),
  "right half": mask((_, column, __, width) => column >= width / 2),
  middle: mask((row, column, h, w) => row >= h / 4 && row < (3 * h) / 4 && column >= w / 4 && column < (3 * w) / 4),
  all: mask(() => true),
  nothing: mask(() => false),
};

/** An image of any size at the model's: cropped to its proportions, then scaled. */
export function fitted(image, [channels, height, width]) {
  const from = new OffscreenCanvas(image.width, image.height);
  from.getContext("2d").putImageData(image, 0, 0);
  const to = new OffscreenCanvas(width, height);
  const context = to.getContext("2d");
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = image.width !== width || image.height !== height;
  const scale = Math.max(width / image.width, height / image.height);
  const [w, h] = [width / scale, height / scale];
  context.drawImage(from, (image.width - w) / 2, (image.height - h) / 2, w, h, 0, 0, width, height);
  const found = context.getImageData(0, 0, width, height);
  if (channels === 1)
    for (let i = 0; i < found.data.length; i += 4) {
      const grey = Math.round(0.299 * found.data[i] + 0.587 * found.data[i + 1] + 0.114 * found.data[i + 2]);
      found.data.fill(grey, i, i + 3);
    }
  return found;
}

/** The colour of an ink as the control gives it: "#rrggbb", or a grey from 0 to 255. */
const colour = (ink) =>
  ink.startsWith("#") ? [1, 3, 5].map((i) => parseInt(ink.slice(i, i + 2), 16)) : Array(3).fill(Number(ink));

/** The picture after a tool was used on the square of `size` pixels around (row, column). */
export function touched({ pixels, missing }, { row, column, tool, ink, size }) {
  const { width, height } = pixels;
  const next = new ImageData(new Uint8ClampedArray(pixels.data), width, height);
  const gone = [...missing];
  const back = Math.floor((size - 1) / 2);
  for (let i = row - back; i < row - back + size; i++)
    for (let j = column - back; j < column - back + size; j++) {
      if (i < 0 || j < 0 || i >= height || j >= width) continue;
      gone[i * width + j] = tool === "erase";
      if (tool === "draw") next.data.set(colour(ink), 4 * (i * width + j));
    }
  return { pixels: next, missing: gone };
}

/** Rows of pixels as the API takes them: greys, or [r, g, b]. */
export function pixelsAsked({ pixels }, [channels, height, width]) {
  const at = (i) => (channels === 1 ? pixels.data[i] : [...pixels.data.slice(i, i + 3)]);
  const line = (row) => Array.from({ length: width }, (_, column) => at(4 * (row * width + column)));
  return Array.from({ length: height }, (_, row) => line(row));
}

/** The mask as the API takes it: a text of 0 and 1 for each row, 1 = missing. */
export const maskOf = ({ missing }, [, height, width]) =>
  Array.from({ length: height }, (_, row) => missing.slice(row * width, (row + 1) * width).map(Number).join(""));
