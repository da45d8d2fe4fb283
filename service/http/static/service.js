/** The service: its answers, its streams, and what went wrong as a Failure. Knows no elements. */

import { Failure } from "./failure.js";
import { authorization } from "./key.js";

/** Where a path of the service is, also behind a proxy that serves it under another. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/** Asks with GET, or with POST where there is a body. Throws Failure, or what the signal was aborted with. */
async function send(path, body, signal) {
  const headers = authorization();
  if (body) headers["content-type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) };
  const response = await fetch(address(path), options).catch(broken(signal));
  if (!response.ok) throw await Failure.of(response);
  return response;
}

export async function ask(path, body, signal) {
  return (await askWhom(path, body, signal)).answer;
}

/** An answer, and the version of the model that gave it; null where a proxy leaves that out. */
export async function askWhom(path, body, signal) {
  const response = await send(path, body, signal);
  return { answer: await response.json().catch(broken(signal)), model: response.headers.get("x-model") };
}

export async function read(path) {
  return (await send(path)).text().catch(broken());
}

export async function fetchBlob(path) {
  return (await send(path)).blob().catch(broken());
}

/** What becomes of an error in asking or reading, which is the network's or a proxy's unless the signal was meant. */
function broken(signal) {
  return (error) => {
    throw signal?.aborted ? error : new Failure("network");
  };
}

/** The events of a stream, as they come; who leaves it ends it. */
export async function* stream(path, body, signal) {
  const { body: content, headers } = await send(path, body, signal);
  const reader = content.pipeThrough(new TextDecoderStream()).getReader();
  const model = headers.get("x-model");
  try {
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read().catch(broken(signal));
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) if (block.startsWith("data:")) yield { ...eventOf(block), model };
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function eventOf(block) {
  const event = JSON.parse(block.slice("data:".length));
  if (event.error) throw new Failure(event.error_type, event.error);
  return event;
}
