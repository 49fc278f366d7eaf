// Jobs that run, wait, or did not finish.

import { ask, contentPath, picturePath, videoPath } from "./api.js";
import { byId, filmOf, h, iconButton, isStill, keyText, say, shortNumber, showList, sizeText, timeText, toast } from "./dom.js";

/** A video's size, length and seed, and what else was asked for. */
export function factsText(video) {
  const settings = Object.entries(video.settings).filter(([key]) => !["prompt", "size", "seconds", "seed"].includes(key));
  return [
    sizeText(video.size), video.seconds && `${shortNumber(video.seconds)} s`, video.seed != null && `seed ${video.seed}`,
    ...settings.map(([key, value]) => (typeof value === "boolean" ? `${value ? "" : "no "}${keyText(key)}` : `${keyText(key)} ${value}`)),
  ].filter(Boolean).join(" · ");
}

const about = (video, ...children) => h("div", { class: "about" }, children,
  video.prompt && h("p", { class: "prompt" }, video.prompt), h("p", { class: "help" }, factsText(video)));

const miniature = ({ picture }) => h("div", { class: "miniature" },
  picture && h("img", { src: picturePath(picture), alt: "", loading: "lazy" }));

/** The queue. `act` is what the page does with a video: `again`, `remove`, `take`; and `reload`. */
export class Queue {
  #running = [];
  #waiting = [];

  constructor(act) {
    this.act = act;
    setInterval(() => this.#tick(), 1000);
  }

  /** Shows the jobs, in the order in which they run, and those that ended without a clip. */
  show(jobs, ended) {
    this.#running = jobs.filter(({ state }) => state === "running");
    this.#waiting = jobs.filter(({ state }) => state === "queued").sort((one, other) => one.position - other.position);
    byId("queue").hidden = jobs.length + ended.length === 0;
    for (const count of document.querySelectorAll("[data-count=queue]")) count.textContent = jobs.length || "";
    showList(byId("jobs"), [...this.#running, ...this.#waiting], ({ id, state }) => `${state} ${id}`,
      (video) => (video.state === "running" ? this.#card(video) : this.#row(video)));
    showList(byId("ended"), ended, ({ id }) => id, (video) => this.#endedRow(video));
    this.#tick();
  }

  /** Takes an event of a running job. */
  took(name, event) {
    [...byId("jobs").children].find(({ dataset }) => dataset.key === `running ${event.id}`)?.took(name, event);
    this.#tick();
  }

  #tick() {
    const shares = [...byId("jobs").querySelectorAll(".running")].map((card) => card.tick());
    document.title = shares.length ? `${Math.floor(shares[0] * 100)} % · ruyi` : "ruyi";
  }

  #cancel(video) {
    return iconButton("close", `Cancel ${video.name}`, async () => {
      try {
        this.act.take(await ask(videoPath(video, "/cancel"), { method: "POST" }));
        say(`${video.name} cancelled`);
      } catch (error) { toast(error.message); }
    });
  }

  #card(video) {
    const stage = h("div", { class: "stage" }, video.picture && h("img", { src: picturePath(video.picture), alt: "" }));
    stage.style.aspectRatio = video.size?.replace("x", " / ");
    const bar = h("progress", { "aria-label": `Progress of ${video.name}` });
    const [done, left] = [h("span"), h("span")];
    const element = h("li", { class: "running" }, stage, h("div", {},
      h("div", { class: "head" }, h("h3", {}, video.name), this.#cancel(video)), about(video), h("div", { class: "timing" }, done, left), bar));
    let [share, words, end] = [video.progress / 100, "", video.remaining_seconds && Date.now() + video.remaining_seconds * 1000];
    let [turn, isGrowing] = [0, false];
    const look = () => {
      const image = h("img", { class: "preview", alt: `Preview of ${video.name}`, src: videoPath(video, `/preview?turn=${(turn += 1)}`) });
      image.addEventListener("load", () => {
        if (isGrowing) return;
        const { naturalWidth: width, naturalHeight: height, alt } = image;
        const still = isStill() && h("canvas", { class: "preview", width, height, role: "img", "aria-label": alt });
        if (still) still.getContext("2d").drawImage(image, 0, 0);
        stage.replaceChildren(still || image);
      });
    };
    const grow = () => {
      const film = filmOf(`${contentPath(video, "growing")}&turn=${(turn += 1)}`, `What there is of ${video.name}`, isStill());
      film.addEventListener("loadeddata", () => {
        isGrowing = true;
        stage.replaceChildren(film);
      });
    };
    element.took = (name, event) => {
      words = event.stage ?? words;
      if (name === "step") [share, end] = [event.fraction, event.remaining && Date.now() + event.remaining * 1000];
      if (name === "preview") look();
      if (name === "section") grow();
    };
    element.tick = () => {
      bar.value = share;
      done.textContent = [`${Math.floor(share * 100)} %`, words].filter(Boolean).join(" · ");
      left.textContent = end > Date.now() ? `${timeText((end - Date.now()) / 1000)} left` : "";
      return share;
    };
    if (video.has_preview) look();
    if (video.grows) grow();
    return element;
  }

  #row(video) {
    const place = () => this.#waiting.findIndex(({ id }) => id === video.id);
    const neighbour = (step) => this.#waiting[place() + step];
    const mover = (name, words, to) => iconButton(name, `Move ${video.name} ${words}`, async ({ currentTarget }) => {
      if (currentTarget.ariaDisabled === "true") return;
      try {
        await ask(videoPath(video, "/move"), { json: to() });
        await this.act.reload();
        say(`${video.name} is number ${place() + 1} of ${this.#waiting.length}`);
      } catch (error) { toast(error.message); }
    });
    const movers = {
      Home: mover("first", "to the front", () => ({ to: "first" })),
      ArrowUp: mover("up", "up", () => ({ before: neighbour(-1).id })),
      ArrowDown: mover("down", "down", () => (neighbour(2) ? { before: neighbour(2).id } : { to: "last" })),
    };
    const element = h("li", {
      class: "waiting",
      onkeydown: (event) => {
        if (!event.altKey || !movers[event.key]) return;
        event.preventDefault();
        movers[event.key].click();
      },
    }, miniature(video), about(video, h("h3", {}, video.name)), h("div", { class: "row" }, Object.values(movers), this.#cancel(video)));
    element.update = () => {
      // Not disabled, which would lose the focus.
      movers.Home.ariaDisabled = movers.ArrowUp.ariaDisabled = String(!neighbour(-1));
      movers.ArrowDown.ariaDisabled = String(!neighbour(1));
    };
    return element;
  }

  #endedRow(video) {
    const { state, error, name } = video;
    return h("li", { class: `waiting ${state}` }, miniature(video),
      about(video, h("h3", {}, name, h("span", {}, ` ${state}`)),
        state === "failed" && [h("p", { class: "error" }, error?.message), error?.hint && h("p", {}, error.hint)]),
      h("div", { class: "row" },
        iconButton("again", `Again with a change: ${name}`, () => this.act.again(video)),
        iconButton("delete", `Delete ${name}`, () => this.act.remove(video))));
  }
}
