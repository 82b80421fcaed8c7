// Latents out, images in, as fast as the server answers: one question under way, and the latest one waiting.
import { Refused, socket } from "../../parts/load.js";

export class Decoder {
  /** `answered(error, bytes, z)`: RGBA of the image at z, or what went wrong. */
  constructor(path, answered) {
    [this.path, this.answered, this.id, this.asked, this.waiting] = [path, answered, 0, null, null];
    this.open();
  }

  open() {
    this.line = socket(
      this.path,
      (message) => this.hear(message),
      (reason) => {
        this.asked = null;
        this.lost = true;
        if (reason) this.answered(new Refused(reason));
      },
    );
    this.lost = false;
    this.line.opened.then(() => this.next());
  }

  ask(z, label) {
    this.waiting = label === undefined ? { z } : { z, label };
    if (this.lost) this.open();
    this.next();
  }

  next() {
    if (this.asked || !this.waiting || !this.line.open) return;
    this.asked = { ...this.waiting, id: ++this.id, from: performance.now() };
    this.waiting = null;
    const { from, ...question } = this.asked;
    this.line.send(question);
  }

  hear(message) {
    if (message instanceof ArrayBuffer) {
      if (new DataView(message).getUint32(0, true) !== this.id) return;
      this.answered(null, new Uint8ClampedArray(message, 4), this.asked.z);
      performance.measure("limner-walk", { start: this.asked.from, end: performance.now() });
    } else if (message.type === "error") {
      this.answered(new Refused(message.error));
    } else {
      return;
    }
    this.asked = null;
    this.next();
  }

  close() {
    this.line.close();
  }
}
