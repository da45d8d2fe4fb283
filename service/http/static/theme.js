/** Light, dark, or as the system is. */

import { recall, remember } from "./memory.js";

const KEPT = "seqserve.theme";

export function startTheme(select) {
  const apply = () => {
    if (select.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
  };
  select.value = recall(KEPT) ?? "auto";
  select.addEventListener("change", () => {
    remember(KEPT, select.value);
    apply();
  });
  apply();
}
