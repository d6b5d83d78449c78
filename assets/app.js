// What events of the page do in the browser itself; mind2mind/ui names these functions in `js=`.
window.m2m = {
  // Puts into a handler's first argument what happens to the slider: it is moved while the pointer holds it,
  // set by us if the focus is elsewhere, else nothing: a key moved it, or its number was typed.
  held(id, all) {
    const box = document.getElementById(id);
    const held = box.querySelector("input[type=range]:active") ? "moving"
      : box.contains(document.activeElement) ? "" : "set";
    return [held, ...all];
  },

  // Saves a file that was made for it.
  save(file) {
    if (!file) return;
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name || "";
    link.click();
  },

  scrollTo(id, all) {
    document.getElementById(id).scrollIntoView({ block: "center" });
    return all;
  },
};
