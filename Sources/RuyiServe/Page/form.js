// What is to be made: the pictures, the model, its options.

import { ask } from "./api.js";
import { byId, bytesText, h, icon, keyText, say, toast } from "./dom.js";
import { OptionField, typed } from "./options.js";
import { PlanView, planSize } from "./plan.js";
import { Well } from "./well.js";

// What the page has a place of its own for.
const placed = ["prompt", "seed", "variations", "model", "image", "picture", "input_reference", "end_image", "name"];
// Ways to say one thing: the one said last counts.
const either = [["frames", "seconds"], ["size", "base_resolution"]];
const stored = "ruyi-form";
const [prompt, seed, variations, models, button] = ["prompt", "seed", "variations", "model", "render"].map(byId);

/** The form. `onqueued` gets the videos that the server took. */
export class Form {
  #models = [];
  #fields = new Map();

  constructor(onqueued) {
    this.onqueued = onqueued;
    const changed = () => this.#changed();
    this.start = new Well(byId("start-well"), "Picture", "Drop it, paste it, or choose a file", changed);
    this.end = new Well(byId("end-well"), "End picture", "if the clip should end with one", changed);
    this.planView = new PlanView(byId("plan"), (plan, error) => {
      this.start.showCrop(plan?.crop, plan && planSize(plan));
      for (const [key, field] of this.#fields) {
        field.isWrong = key === error?.param;
        if (key === error?.param && !field.option.is_first) byId("more").open = true;
      }
    }, (settings) => this.#use(settings));
    byId("make").addEventListener("submit", (event) => { event.preventDefault(); this.render(); });
    for (const input of [prompt, seed, variations]) input.addEventListener("input", changed);
    models.addEventListener("change", () => this.#choose(models.value, this.#settings));
    byId("draw-seed").append(icon("dice"));
    byId("draw-seed").addEventListener("click", () => {
      [seed.value] = crypto.getRandomValues(new Uint32Array(1));
      say(`Seed ${seed.value}`);
      changed();
    });
    byId("reset").addEventListener("click", () => { this.#choose(models.value, {}); button.focus(); });
    addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || byId("viewer").open) return;
      event.preventDefault();
      this.render();
    });
    this.#takePictures();
  }

  /** A picture may be dropped anywhere on the page, and pasted. */
  #takePictures() {
    const mark = (isOver) => document.body.classList.toggle("dragging", isOver);
    const take = (event, { types, files }, place) => {
      if (!types.includes("Files")) return;
      event.preventDefault();
      if (files.length) (this.end.element.contains(place) ? this.end : this.start).take(files[0]);
      mark(event.type === "dragover");
    };
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => take(event, event.dataTransfer, event.target));
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
    addEventListener("paste", (event) => take(event, event.clipboardData, document.activeElement));
  }

  get #model() { return this.#models.find(({ id }) => id === models.value); }

  get #seedDefault() { return this.#model.options.find(({ key }) => key === "seed")?.default || "42"; }

  get #variations() { return Math.max(1, Math.trunc(variations.value) || 1); }

  get #clips() { return this.#variations * seed.value.split(",").length; }

  /** Shows the models that there are; what was in the form stays as far as it can. */
  setModels(list) {
    if (JSON.stringify(list) === JSON.stringify(this.#models)) return void this.#changed();
    const before = this.#models.length ? this.#state : JSON.parse(localStorage.getItem(stored) ?? "{}");
    this.#models = list;
    models.replaceChildren(...list.map(({ id }) => h("option", {}, id)));
    this.#state = before;
  }

  /** Everything in the form, as it is kept and filled. */
  get #state() {
    const picture = ({ id, name }) => id && { id, name };
    return {
      model: models.value, prompt: prompt.value, picture: picture(this.start), end: picture(this.end),
      seed: seed.value, variations: variations.value, settings: this.#settings,
    };
  }

  set #state(state) {
    const model = this.#models.find(({ id }) => id === state.model) ?? this.#models.find((one) => one.is_default) ?? this.#models[0];
    if (!model) return;
    prompt.value = state.prompt ?? "";
    this.#choose(model.id, state.settings ?? {});
    seed.value = state.seed ?? this.#seedDefault;
    variations.value = state.variations ?? 1;
    this.end.set(state.end);
    this.start.set(state.picture);
  }

  /** Fills the form with the request of a video, for another like it. */
  fill(video) {
    const picture = (id) => id && { id };
    this.#state = { ...video, seed: String(video.seed), picture: picture(video.picture), end: picture(video.end_picture) };
    byId("make").scrollIntoView();
    (this.#model.takes_text ? prompt : seed).focus();
  }

  get #settings() {
    return Object.fromEntries([...this.#fields].map(([key, { value }]) => [key, value]).filter(([, value]) => value !== undefined));
  }

  /** What is sent: only what differs from the defaults. */
  get #request() {
    const model = this.#model;
    const given = {
      prompt: model.takes_text && prompt.value.trim(),
      input_reference: model.takes_picture && this.start.id,
      end_image: model.takes_end_picture && this.end.id,
      seed: seed.value !== this.#seedDefault && typed(seed.value),
      variations: this.#variations > 1 && this.#variations,
    };
    return { model: model.id, ...this.#settings, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value || value === 0)) };
  }

  /** What is still needed before the server can be asked, in words. */
  get #missing() {
    const { input_reference: picture, prompt: text } = this.#request;
    if (picture || text) return null;
    return this.#model.takes_picture ? "Choose a picture to begin." : "Say what happens in the clip.";
  }

  /** Sends the request, or leads to what is missing. */
  async render() {
    if (!this.#model || button.ariaDisabled === "true") return;
    if (this.#missing) {
      (this.#model.takes_picture ? this.start.input : prompt).focus();
      return;
    }
    button.ariaDisabled = "true";
    try {
      const answer = await ask("/v1/videos", { json: this.#request });
      const made = answer.data ?? [answer];
      this.onqueued(made);
      toast(made.length > 1 ? `${made.length} clips queued` : `${made[0].name} queued`);
    } catch (error) {
      this.planView.refuse(error);
    }
    button.ariaDisabled = "false";
  }

  #choose(id, settings) {
    models.value = id;
    const model = this.#model;
    byId("model-help").textContent = bytesText(model.bytes) + (model.takes_text ? "" : ". Reads no text; its options steer it.");
    byId("start-well").hidden = !model.takes_picture;
    byId("end-well").hidden = !model.takes_end_picture;
    byId("prompt-field").hidden = !model.takes_text;
    const options = model.options.filter(({ key }) => !placed.includes(key));
    this.#fields = new Map(options.map((option) => [option.key, new OptionField(option, (field) => this.#said(field))]));
    for (const [key, field] of this.#fields) field.value = settings[key];
    const groups = Map.groupBy(this.#fields.values(), ({ option }) => option.is_first || option.group);
    const elements = (fields = []) => fields.map(({ element }) => element);
    byId("first-options").replaceChildren(...elements(groups.get(true)));
    groups.delete(true);
    byId("more").hidden = groups.size === 0;
    byId("more-options").replaceChildren(...[...groups].map(([group, fields]) =>
      h("fieldset", {}, h("legend", {}, group), h("div", { class: "options" }, elements(fields)))));
    this.#changed();
  }

  /** Takes a change of one option. */
  #said({ option: { key }, value }) {
    const other = value !== undefined && either.find((pair) => pair.includes(key))?.find((one) => one !== key);
    if (this.#fields.has(other)) this.#fields.get(other).value = undefined;
    this.#changed();
  }

  #use(settings) {
    for (const [key, value] of Object.entries(settings)) {
      const field = this.#fields.get(key);
      if (!field) continue;
      field.value = value;
      this.#said(field);
    }
    button.focus();
  }

  #changed() {
    if (!this.#model) return;
    button.textContent = this.#clips > 1 ? `Render ${this.#clips} clips` : "Render";
    const changes = Object.keys(this.#settings);
    byId("reset").hidden = changes.length === 0;
    byId("more-changed").textContent = changes.filter((key) => !this.#fields.get(key).option.is_first).map(keyText).join(", ");
    const missing = this.#missing;
    if (missing) this.planView.wait(missing);
    else this.planView.plan(this.#request, this.#clips);
    localStorage.setItem(stored, JSON.stringify(this.#state));
  }
}
