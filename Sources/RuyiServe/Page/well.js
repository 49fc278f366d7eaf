// Where a picture is dropped, pasted or chosen, and shown with the part of it that the clip will have.

import { ask, picturePath } from "./api.js";
import { h, icon, iconButton } from "./dom.js";

/** A place for one picture. `id` is the picture's on the server, or null. */
export class Well {
  id = null;
  // Counts what was taken, so that a slow upload does not replace what came after it.
  #turn = 0;

  constructor(element, title, invitation, onchange) {
    Object.assign(this, { element, title, onchange });
    this.input = h("input", {
      type: "file", accept: "image/*,.heic,.heif,.jxl,.tif", class: "unseen", "aria-label": title,
      onchange: () => this.take(this.input.files[0]),
    });
    this.invitation = h("span", { class: "invitation" }, icon("picture"), h("strong", {}, title), h("span", {}, invitation));
    this.image = h("img", { alt: "", onerror: () => { if (this.id) this.set(null, "This picture is no longer there."); } });
    this.crop = h("div", { class: "crop" });
    this.shown = h("div", { class: "shown" }, this.image, this.crop);
    this.removal = iconButton("close", `Remove: ${title}`, () => { this.set(null); this.input.focus(); });
    this.notes = h("p", { class: "help", "aria-live": "polite" });
    element.append(h("div", { class: "frame" }, h("label", {}, this.input, this.invitation, this.shown), this.removal), this.notes);
    this.#show();
  }

  /** Takes a file of this machine to the server. */
  async take(file) {
    this.input.value = "";
    if (!file) return;
    const turn = (this.#turn += 1);
    this.notes.textContent = "Reading the picture …";
    try {
      const picture = await ask("/v1/pictures", {
        method: "POST", body: file,
        headers: {
          "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream",
          "X-File-Name": encodeURIComponent(file.name),
        },
      });
      if (turn === this.#turn) this.set(picture);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.set(null, [error.message, error.hint].filter(Boolean).join("; "));
      this.element.classList.add("wrong");
    }
  }

  /** Shows a picture of the server (its `id`, and what is known of it), or none. */
  set(picture, note = "") {
    this.#turn += 1;
    this.element.classList.remove("wrong");
    this.id = picture?.id ?? null;
    this.name = picture?.name;
    const size = picture?.width && `${picture.width}×${picture.height}`;
    this.notes.textContent = [note, this.name, size, ...(picture?.notes ?? [])].filter(Boolean).join(", ");
    this.#show();
    this.onchange();
  }

  #show() {
    this.showCrop(null);
    this.shown.hidden = this.removal.hidden = !this.id;
    this.invitation.hidden = this.id !== null;
    this.input.setAttribute("aria-label", this.id ? `${this.title}: choose another` : this.title);
    this.image.alt = this.id ? this.title : "";
    if (this.id) this.image.src = picturePath(this.id);
    else this.image.removeAttribute("src");
  }

  /** Shows what part of the picture is seen, in shares of it, with the frames' size. */
  showCrop(crop, size = "") {
    this.crop.hidden = !crop;
    this.crop.dataset.size = size;
    const sides = { left: crop?.x, top: crop?.y, width: crop?.width, height: crop?.height };
    for (const [side, share] of Object.entries(sides)) this.crop.style[side] = `${share * 100}%`;
  }
}
