/** What the browser remembers for its user, where it is allowed to; where not, nothing is kept and all else works. */

export function recall(key, area = "localStorage") {
  try {
    return window[area].getItem(key);
  } catch {
    return null;
  }
}

/** value: null to forget. */
export function remember(key, value, area = "localStorage") {
  try {
    if (value === null) window[area].removeItem(key);
    else window[area].setItem(key, value);
  } catch {
    // It is not allowed to.
  }
}
