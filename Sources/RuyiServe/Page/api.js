// The server's answers, its errors and its events.

/** What the server refused, in its words: `message`, `hint`, `code`, `param`, `suggestion`. */
export class Refusal extends Error {
  constructor(error, status) {
    super(error.message);
    Object.assign(this, error, { status });
  }
}

/** Asks the server; `json` is sent as such, anything else as `body`. Answers its JSON. */
export async function ask(path, { json, headers, ...options } = {}) {
  if (json) {
    options = { method: "POST", ...options, body: JSON.stringify(json) };
    headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ message: "The server does not answer." }, 0);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Refusal(answer?.error ?? { message: `The server answered with status ${response.status}.` }, response.status);
}

/** The newest `limit` videos in some states, or all of them. */
export async function videos(states, { limit = 100, after = "", all = false } = {}) {
  const found = [];
  for (;;) {
    const page = await ask(`/v1/videos?order=desc&limit=${limit}&state=${states}${after && `&after=${after}`}`);
    found.push(...page.data);
    if (!all || !page.has_more) return { found, hasMore: page.has_more };
    after = page.last_id;
  }
}

export const videoPath = (video, part = "") => `/v1/videos/${encodeURIComponent(video.id)}${part}`;
export const contentPath = (video, variant) => videoPath(video, `/content${variant ? `?variant=${variant}` : ""}`);
export const picturePath = (id) => `/v1/pictures/${encodeURIComponent(id)}`;

/**
 * Listens to the whole queue, for ever. `onopen` is called after every connection, `onaway` when one is lost, the
 * handlers with the events of their names.
 */
export function listen({ onopen, onaway, ...handlers }) {
  const source = new EventSource("/v1/events");
  source.addEventListener("open", onopen);
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  }
  source.addEventListener("error", (event) => {
    // A job's error comes under the same name, with data.
    if (event.data !== undefined) return;
    source.close();
    onaway();
    setTimeout(listen, 2000, { onopen, onaway, ...handlers });
  });
}
