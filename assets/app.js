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

  // Words for Gradio's ImageSlider, which gives its two pictures none; it shows them a moment after the change.
  closer() {
    for (const wait of [0, 100, 500, 2000]) setTimeout(() => {
      document.querySelectorAll("#transfer-closer img").forEach((picture, i) => {
        picture.alt = i ? "Its reconstruction" : "Your picture";
      });
    }, wait);
  },

  // The address at which the run is only looked at: the browser alone knows under which one the page is seen.
  linkTo: (visit) => visit && visit.look ? `${location.origin}${location.pathname}?run=${visit.look}` : "",
};
