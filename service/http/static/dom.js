/** Elements: found, and made. Knows nothing of what they are for. */

export function byId(id) {
  return document.getElementById(id);
}

/** An element; whatever of the properties it has not is an attribute. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Says something to who does not see the page, when it is their turn to hear. */
export function announce(sentence) {
  byId("announcer").textContent = sentence;
}
