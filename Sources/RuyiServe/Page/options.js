// The controls of a model's options, made from what the server says of them.

import { h, icon, keyText } from "./dom.js";

const isOn = (text) => /^(true|on)$/.test(text);

/** What is typed as JSON has it: a number, several with commas as a list, else the text. */
export function typed(text) {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  if (numbers.some((number) => !Number.isFinite(number) || Math.abs(number) > Number.MAX_SAFE_INTEGER)) return text;
  return numbers.length > 1 ? numbers : numbers[0];
}

const isNumeric = (kind) => kind === "integer" || kind === "number";

// A control has its element, and its value as text.

function flag(id) {
  const node = h("input", { id, type: "checkbox", role: "switch" });
  return { node, get text() { return String(node.checked); }, set text(text) { node.checked = isOn(text); } };
}

/** A choice of a few short words stands open, others in a list. */
function choice(id, { choices, default: standard }) {
  const all = choices.some(({ value }) => value === standard) ? choices : [{ value: "", meaning: standard }, ...choices];
  if (all.length > 6 || all.some(({ value }) => value.length > 9)) {
    const node = h("select", { id }, all.map(({ value, meaning }) =>
      h("option", { value }, [value, meaning].filter(Boolean).join(": ") || "the model's")));
    return { node, get text() { return node.value; }, set text(text) { node.value = text; } };
  }
  const inputs = all.map(({ value }) => h("input", { type: "radio", name: id, value }));
  const node = h("div", { class: "segments", role: "radiogroup", "aria-labelledby": `${id}-label` }, all.map(({ value, meaning }, index) =>
    h("label", { title: meaning }, inputs[index], h("span", {}, value || "model's"))));
  return {
    node, isGroup: true,
    get text() { return inputs.find((input) => input.checked)?.value ?? ""; },
    set text(text) { for (const input of inputs) input.checked = input.value === text; },
  };
}

/** A number or a text, with what is often chosen. A default that is no value is shown as words. */
function written(id, { kind, default: standard, minimum, maximum, choices = [] }) {
  const isValue = isNumeric(kind) ? Number.isFinite(Number(standard)) : !/\s/.test(standard);
  const listed = choices.filter(({ value }) => kind !== "size" || /^\d/.test(value));
  const input = h("input", {
    id, autocomplete: "off", placeholder: isValue ? null : standard,
    ...(isNumeric(kind) && { type: "number", min: minimum, max: maximum, step: kind === "integer" ? 1 : "any" }),
    ...(listed.length && { list: `${id}-list` }),
  });
  return {
    node: [input, listed.length ? h("datalist", { id: `${id}-list` }, listed.map(({ value }) => h("option", { value }))) : null],
    get text() { return input.value.trim(); },
    set text(text) { input.value = isValue || text !== standard ? text : ""; },
  };
}

/** An option's field: label, control, help, and a button that brings the default back. */
export class OptionField {
  constructor(option, onchange) {
    const standard = option.default ?? "";
    const [chosen] = standard.split(";");
    this.option = { ...option, default: option.choices?.some(({ value }) => value === chosen) ? chosen : standard };
    const id = `option-${option.key}`;
    const control = this.control = ({ flag, choice }[option.kind] ?? written)(id, this.option);
    const name = keyText(option.key).replace(/^./, (letter) => letter.toUpperCase());
    const back = `${name}: back to ${this.option.default || "the default"}`;
    const reset = h("button", {
      type: "button", class: "icon reset", "aria-label": back, title: back,
      onclick: () => { this.value = undefined; onchange(this); },
    }, icon("reset"));
    const label = h(control.isGroup ? "span" : "label", {
      class: "label", title: option.help, ...(control.isGroup ? { id: `${id}-label` } : { for: id }),
    }, name);
    const isFlag = option.kind === "flag";
    this.element = h("div", { class: `field ${isFlag || control.isGroup ? "wide" : ""}`, oninput: () => { this.mark(); onchange(this); } },
      h("div", { class: "head" }, isFlag && control.node, label, reset), !isFlag && control.node,
      h("p", { id: `${id}-help`, class: option.is_first ? "unseen" : "help" }, option.help));
    const described = control.isGroup ? control.node : this.element.querySelector(`#${id}`);
    described.setAttribute("aria-describedby", `${id}-help`);
    this.value = undefined;
  }

  /** What is sent: undefined where it is the default. */
  get value() {
    const { option: { kind, default: standard }, control: { text } } = this;
    if (kind === "flag") return isOn(text) === isOn(standard) ? undefined : isOn(text);
    if (text === "" || text === standard) return undefined;
    return typeof typed(standard) !== "string" || isNumeric(kind) ? typed(text) : text;
  }

  set value(value) {
    this.control.text = String(value ?? this.option.default);
    this.mark();
  }

  /** Shows whether the value differs from the default. */
  mark() {
    this.element.classList.toggle("changed", this.value !== undefined);
  }

  /** Shows whether the server takes this option for the trouble. */
  set isWrong(isWrong) {
    for (const input of this.element.querySelectorAll("input, select")) {
      if (isWrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }
}
