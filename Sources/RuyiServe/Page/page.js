// The page: what the server has, kept up to date by its events.

import { ask, listen, Refusal, videoPath, videos } from "./api.js";
import { byId, say, toast } from "./dom.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { Queue } from "./queue.js";

const pageSize = 48;
const known = new Map();
// What is deleted here though the server does not know yet: it can be taken back for a while.
const leaving = new Map();
let oldest;

const act = { take, remove, again: (video) => form.fill(video), reload: () => load("queued,running", { all: true }) };
const queue = new Queue(act);
const gallery = new Gallery(act);
const form = new Form((made) => {
  for (const video of made) if (!known.has(video.id)) known.set(video.id, video);
  show();
});

function show() {
  const newest = (one, other) => (other.completed_at ?? other.created_at) - (one.completed_at ?? one.created_at);
  const all = [...known.values()].filter(({ id }) => !leaving.has(id)).sort(newest);
  const inStates = (...states) => all.filter(({ state }) => states.includes(state));
  queue.show(inStates("queued", "running"), inStates("failed", "cancelled"));
  gallery.show(inStates("done"));
}

/** Takes what the server says of a video. */
function take(video) {
  const before = known.get(video.id)?.state;
  known.set(video.id, video);
  show();
  if (before === video.state || leaving.has(video.id)) return;
  if (video.state === "done") {
    gallery.present(video);
    say(`${video.name} is done`);
  }
  if (video.state === "failed") say(`${video.name} failed: ${video.error?.message}`);
}

/** Deletes a video a while later, so that one can think better of it. */
function remove(video) {
  const finish = async (options) => {
    leaving.delete(video.id);
    known.delete(video.id);
    try {
      await ask(videoPath(video), { method: "DELETE", ...options });
    } catch (error) {
      if (error.status !== 404) take(video);
      toast(`${video.name}: ${error.message}`);
    }
  };
  leaving.set(video.id, finish);
  show();
  toast(`${video.name} deleted`, { onend: finish, undo: () => { leaving.delete(video.id); show(); } });
}
addEventListener("pagehide", () => { for (const finish of leaving.values()) finish({ keepalive: true }); });

/** Loads the videos in some states. */
async function load(states, options) {
  const answer = await videos(states, options);
  for (const video of [...known.values()]) if (states.split(",").includes(video.state)) known.delete(video.id);
  for (const video of answer.found) known.set(video.id, video);
  show();
  return answer;
}

function offerOlder({ found, hasMore }) {
  oldest = found.at(-1)?.id;
  byId("older").hidden = !hasMore;
}

/** Loads everything, when the page was opened and when the connection was lost or is back. */
async function loadAll() {
  try {
    form.setModels((await ask("/v1/models")).data);
    await act.reload();
    await load("failed,cancelled", { limit: 20 });
    offerOlder(await load("done", { limit: pageSize }));
    byId("away").textContent = "";
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    byId("away").textContent = `${error.message} ${error.hint ?? "Looking for it …"}`;
  }
}

byId("older").addEventListener("click", async () => {
  const answer = await videos("done", { limit: pageSize, after: oldest });
  for (const video of answer.found) known.set(video.id, video);
  offerOlder(answer);
  show();
});

const ofRunning = ["stage", "step", "section", "preview"];
listen({
  onopen: loadAll,
  onaway: loadAll,
  queue: take,
  deleted: ({ id }) => { known.delete(id); show(); },
  ...Object.fromEntries(ofRunning.map((name) => [name, (event) => queue.took(name, event)])),
});
