// Finished clips: variations of one request together, and a view of each in full.

import { contentPath, picturePath } from "./api.js";
import { byId, bytesText, commandLine, copy, filmOf, h, icon, iconButton, isStill, keyText, rows, shortNumber, showList, sizeText } from "./dom.js";
import { factsText } from "./queue.js";

/** What the variations of one request have in common. */
function requestKey({ model, prompt, picture, end_picture: end, size, seconds, settings }) {
  const { seed, ...rest } = settings;
  return JSON.stringify([model, prompt, picture, end, size, seconds, Object.entries(rest).sort()]);
}

/** The gallery. `act` is what the page does with a video: `again`, `remove`. */
export class Gallery {
  constructor(act) {
    this.act = act;
    const viewer = byId("viewer");
    viewer.addEventListener("close", () => viewer.replaceChildren());
    viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  }

  /** Shows the clips, the newest first. */
  show(clips) {
    const groups = [...Map.groupBy(clips, requestKey)]
      .map(([key, members]) => ({ key, clips: members.sort((one, other) => one.seed - other.seed) }));
    for (const count of document.querySelectorAll("[data-count=clips]")) count.textContent = clips.length || "";
    byId("empty").hidden = clips.length > 0 || !byId("queue").hidden;
    showList(byId("gallery"), groups, ({ key }) => key, () => this.#card());
  }

  /** Plays a clip that has just been made. */
  present(video) {
    const key = requestKey(video);
    [...byId("gallery").children].find(({ dataset }) => dataset.key === key).choose(video.id);
  }

  #card() {
    let group;
    let video;
    let chosen;
    const still = h("img", { alt: "", loading: "lazy" });
    const film = h("video", { loop: true, playsinline: true, preload: "none", hidden: true, "aria-hidden": "true" });
    film.muted = true;
    const open = h("button", { type: "button", class: "open", onclick: () => this.view(video) }, icon("play"));
    const strip = h("div", { class: "strip", role: "group", "aria-label": "Variations" });
    const words = h("div", { class: "about" });
    const stop = () => { film.hidden = true; film.pause(); };
    const element = h("li", { class: "clip" }, h("div", {
      class: "film", onpointerenter: () => play(), onpointerleave: stop,
    }, still, film, open), strip, words);
    film.addEventListener("playing", () => { film.hidden = false; });
    const play = () => {
      if (isStill()) return;
      if (film.getAttribute("src") !== contentPath(video)) film.src = contentPath(video);
      // It is refused where the clip is left before it begins.
      film.play().catch(() => {});
    };
    element.choose = (id) => {
      chosen = id;
      refresh();
      play();
    };
    const refresh = () => {
      const before = video;
      video = group.clips.find(({ id }) => id === chosen) ?? group.clips[0];
      for (const button of strip.children) button.ariaPressed = String(button.dataset.id === video.id);
      if (before?.id === video.id) return;
      stop();
      still.src = contentPath(video, "thumbnail");
      open.ariaLabel = `Watch ${video.name}`;
      words.replaceChildren(h("div", { class: "head" }, h("h3", {}, video.name), this.#actions(video)),
        video.prompt ? h("p", { class: "prompt" }, video.prompt) : "", h("p", { class: "help" }, factsText(video)));
    };
    element.update = (now) => {
      const isNew = now.clips.length !== group?.clips.length;
      group = now;
      strip.hidden = group.clips.length < 2;
      if (isNew) {
        strip.replaceChildren(...group.clips.map((one) => h("button", {
          type: "button", "data-id": one.id, "aria-label": `Seed ${one.seed}`, title: `Seed ${one.seed}`, onclick: () => element.choose(one.id),
        }, h("img", { src: contentPath(one, "thumbnail"), alt: "", loading: "lazy" }))));
      }
      refresh();
    };
    return element;
  }

  #actions(video) {
    const download = `Download ${video.name}`;
    return [
      iconButton("again", `Again with a change: ${video.name}`, () => this.act.again(video)),
      h("a", { class: "icon", href: contentPath(video), download: video.name, "aria-label": download, title: download }, icon("download")),
      iconButton("copy", `Copy the command line of ${video.name}`, () => copy(video.command)),
      iconButton("delete", `Delete ${video.name}`, () => this.act.remove(video)),
    ];
  }

  /** Shows a clip in full, with everything about it. */
  view(video) {
    const viewer = byId("viewer");
    const { prompt, seed, size, seconds, frames, fps, ...settings } = video.settings;
    const closing = (action) => () => { viewer.close(); action(video); };
    viewer.replaceChildren(
      h("div", { class: "head" }, h("h2", { id: "viewer-name" }, video.name), iconButton("close", "Close", () => viewer.close())),
      filmOf(contentPath(video), video.name, true),
      h("div", { class: "row" },
        h("button", { type: "button", class: "main", onclick: closing(this.act.again) }, "Again with a change"),
        h("a", { class: "button", href: contentPath(video), download: video.name }, "Download"),
        h("button", { type: "button", onclick: closing(this.act.remove) }, "Delete")),
      h("div", { class: "made" },
        video.picture ? h("img", { src: picturePath(video.picture), alt: "The start picture" }) : "",
        rows([
          ["prompt", video.prompt], ["model", video.model], ["size", sizeText(video.size)],
          ["length", `${shortNumber(video.seconds)} s, ${video.frames} frames at ${shortNumber(video.fps)} a second`], ["seed", video.seed],
          ...Object.entries(settings).map(([key, value]) => [keyText(key), value]),
          ["file", bytesText(video.bytes)], ["made", new Date(video.completed_at * 1000).toLocaleString()],
        ])),
      commandLine(video.command));
    viewer.showModal();
  }
}
