// What a request would do and take, said while it is typed.

import { ask } from "./api.js";
import { bytesText, commandLine, h, keyText, rows, shortNumber, timeText } from "./dom.js";

/** Asks for plans, only the newest of which counts, and shows them. */
export class PlanView {
  #timer;
  #asking;

  /** `onanswer` gets each plan, or null and the refusal; `onuse` the suggested settings that were clicked. */
  constructor(element, onanswer, onuse) {
    Object.assign(this, { element, onanswer, onuse });
  }

  /** Plans a request soon. */
  plan(request, clips) {
    this.#stop();
    this.element.setAttribute("aria-busy", "true");
    this.#timer = setTimeout(async () => {
      const { signal } = (this.#asking = new AbortController());
      try {
        const plan = await ask("/v1/plan", { json: request, signal });
        if (!signal.aborted) this.#show(summary(plan, clips), plan);
      } catch (error) {
        if (!signal.aborted) this.refuse(error);
      }
    }, 250);
  }

  /** Shows a refusal in the server's words, with what would do instead. */
  refuse(error) {
    const uses = [error.suggestion ?? []].flat().map((settings) => h("button", { type: "button", onclick: () => this.onuse(settings) },
      `Use ${Object.entries(settings).map(([key, value]) => `${keyText(key)} ${value}`).join(", ")}`));
    this.#show(h("div", { class: "refusal" }, h("p", {}, error.message), error.hint && h("p", { class: "help" }, error.hint),
      uses.length > 0 && h("div", { class: "row" }, uses)), null, error);
  }

  /** Says what is missing before anything can be planned. */
  wait(text) {
    this.#show(h("p", { class: "help" }, text), null);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
  }

  #show(nodes, plan, error) {
    this.#stop();
    const isOpen = Boolean(this.element.querySelector("details")?.open);
    this.element.replaceChildren(...[nodes].flat());
    this.element.querySelector("details")?.toggleAttribute("open", isOpen);
    this.element.removeAttribute("aria-busy");
    this.onanswer(plan, error);
  }
}

function summary(plan, clips) {
  const { estimated_seconds: time, peak_memory_bytes: memory, memory_limit_bytes: limit } = plan;
  const fact = (value, words, ...more) => h("div", {}, h("strong", {}, value), h("span", {}, words), more);
  const notes = (texts, kind) => texts.map((text) => h("p", { class: `help ${kind}` }, text));
  return [
    h("div", { class: "facts" },
      fact(planSize(plan), `${plan.frames} frames, ${shortNumber(plan.seconds)} s`),
      fact(time == null ? "?" : timeText(time * clips), time == null ? "time not known" : clips > 1 ? `for ${clips} clips` : "to render"),
      fact(bytesText(memory), `of ${bytesText(limit)} memory`, h("meter", { value: memory, max: limit, "aria-hidden": "true" }))),
    notes(plan.warnings, "warning"), notes(plan.notes, ""),
    h("details", {}, h("summary", {}, "In full"), rows(plan.rows), plan.command && commandLine(plan.command)),
  ].flat();
}

/** The size of the frames in the file. */
export const planSize = (plan) => `${plan.output_width ?? plan.width}×${plan.output_height ?? plan.height}`;
