// Images that come in frames: a JSON line with "bytes", then that many bytes of RGBA.
import { html, useLayoutEffect, useRef } from "../vendor/htm-preact.js";
import { Refused, socket } from "./load.js";

/**
 * Ask `question` of a drawing WebSocket. `on.begin`, `on.row(message, bytes)`, `on.images(message, bytes)` are called
 * as they come; the promise `done` gives the last message. `stop()` breaks off, and `done` gives null.
 */
export function draw(path, question, on) {
  let stop;
  const done = new Promise((resolve, reject) => {
    let header = null;
    const line = socket(
      path,
      (message) => {
        if (message instanceof ArrayBuffer) {
          const bytes = new Uint8ClampedArray(message);
          if (header.type === "row") on.row?.(header, bytes);
          else on.images?.(header, bytes);
          header = null;
        } else if (message.type === "error") {
          const later = message.retry_after ? ` Try again in ${message.retry_after} s.` : "";
          reject(new Refused(message.error + later, message.status));
        } else if (message.type === "done") {
          resolve(message);
        } else if (message.bytes !== undefined) {
          header = message;
        } else if (message.type === "begin") {
          on.begin?.(message);
        }
      },
      (reason) => reject(new Refused(reason || "The studio closed the connection before the last image.")),
    );
    line.opened.then(() => line.send(question));
    stop = () => {
      line.close();
      resolve(null);
    };
  });
  return { done, stop };
}

/** Image `i` of a frame of whole images. */
export function cut(bytes, [, height, width], i) {
  const size = height * width * 4;
  return new ImageData(bytes.slice(i * size, (i + 1) * size), width, height);
}

/** Canvases of small images that are drawn into as pixels arrive. */
export class Canvases {
  constructor() {
    this.all = [];
  }

  hold(i) {
    return (canvas) => (this.all[i] = canvas);
  }

  clear() {
    for (const canvas of this.all) canvas?.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  row({ row, first, count }, bytes) {
    const width = bytes.length / count / 4;
    for (let i = 0; i < count; i++) {
      const pixels = new ImageData(bytes.slice(i * width * 4, (i + 1) * width * 4), width, 1);
      this.all[first + i]?.getContext("2d").putImageData(pixels, 0, row);
    }
  }

  images({ first, count }, bytes, shape) {
    for (let i = 0; i < count; i++) this.all[first + i]?.getContext("2d").putImageData(cut(bytes, shape, i), 0, 0);
  }
}

/** One small image on a canvas: `pixels` an ImageData, or nothing yet. */
export function PixelCanvas({ pixels, shape, label, ...rest }) {
  const canvas = useRef(null);
  useLayoutEffect(() => {
    if (pixels) canvas.current.getContext("2d").putImageData(pixels, 0, 0);
  }, [pixels]);
  return html`<canvas class="pixels" ref=${canvas} width=${shape[2]} height=${shape[1]} role="img"
    aria-label=${label} ...${rest}></canvas>`;
}

/** An image file or data URL as RGBA of its own size. */
export async function pixelsOf(source) {
  const blob = source instanceof Blob ? source : await (await fetchData(source)).blob();
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** A data URL's bytes, without a request (the page's policy allows none to data:). */
async function fetchData(url) {
  const [head, body] = url.split(",");
  const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  return new Response(bytes, { headers: { "Content-Type": head.match(/:(.*?);/)[1] } });
}

/** A file as a data URL, as the API takes images. */
export const dataUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Refused(`${blob.name ?? "the file"} cannot be read`));
    reader.readAsDataURL(blob);
  });
