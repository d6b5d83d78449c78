"""How quick the app is for its user: `python tests/tools/bench_browser.py`. Prints one line of JSON per figure.

Needs Chromium, the bundled models and a computer with nothing else to do; takes about six minutes, with
`--times 0` some seconds, for what is measured without a browser. Asserts nothing: a figure is worth what the
machine was doing, so each line says the load.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import torch
from browsing import PATIENCE, expect, launched, tab
from live import ROOT, live_app

from mind2mind.config import DEFAULT
from mind2mind.explore import View
from mind2mind.runs.run import Run
from mind2mind.studio import Studio
from mind2mind.training.transfer import steps_for

DRAG = """async (moves) => {
  const bar = document.querySelector('#interpolate-t input[type=range]');
  const shown = () => document.querySelector('#interpolate-picture img');
  bar.focus();  // else the page takes it for its own doing
  const put = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const took = [];
  for (let i = 0; i < moves; i++) {
    const before = shown().src, begun = performance.now();
    put.call(bar, (0.02 + 0.96 * ((i * 37) % moves) / moves).toFixed(3));
    bar.dispatchEvent(new Event('input', {bubbles: true}));
    while (shown().src === before && performance.now() - begun < 20000)
      await new Promise(go => setTimeout(go, 2));
    await shown().decode();
    took.push(performance.now() - begun);
    await new Promise(go => setTimeout(go, 60));
  }
  return took;
}"""  # each move waits for its picture

IN_VIEW = """(images) => {
  const boxed = [...document.querySelectorAll(images)].map(i => [i, i.getBoundingClientRect()]);
  const here = boxed.filter(([, box]) => box.bottom > 0 && box.top < innerHeight);
  return here.length > 0 && here.every(([image]) => image.naturalWidth);
}"""


class Bench:
    """A browser on one app."""

    def __init__(self, app, browser):
        self.app, self.browser = app, browser

    def page(self):
        """A new visitor's, with its first samples seen; and the seconds that took."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE)
        page, begun = context.new_page(), time.monotonic()
        page.goto(self.app.url)
        seen(page, "#explore-wall img", 16)
        return page, time.monotonic() - begun

    def opening(self, times):
        took = []
        for _ in range(times):
            page, seconds = self.page()
            page.context.close()
            took.append(seconds)
        tell("page to 16 samples, s", median=statistics.median(took), most=max(took))

    def slider(self, page, when, moves=60):
        took = sorted(page.evaluate(DRAG, moves))
        p95 = took[int(0.95 * len(took))]
        tell(f"slider redraw {when}, ms", median=statistics.median(took), p95=p95)
        return p95

    def four_clicks(self, keep):
        """Tab, example set, Quick, Start; until the 64 samples are seen."""
        page, _ = self.page()
        begun = time.monotonic()
        take_example(page)
        checked = time.monotonic() - begun
        page.locator("#transfer-seconds label").first.click()
        page.locator("#transfer-start").click()
        expect(page.locator("#transfer-status")).to_contain_text("Done")
        done = time.monotonic() - begun
        seen(page, "#transfer-samples img", 64)
        seconds = time.monotonic() - begun
        tell("four clicks to 64 samples, s", checked=checked, done=done, seen=seconds)
        if keep:
            page.screenshot(path=keep, full_page=True)
        page.context.close()

    def run(self, other):
        """Start to the first step, the slider meanwhile, Stop to a saved model and to its samples."""
        page, _ = self.page()
        take_example(page)
        page.wait_for_timeout(2000)  # a visitor reads; the worker loads the model meanwhile
        page.get_by_label("5 minutes").check()
        begun = time.monotonic()
        page.locator("#transfer-start").click()
        run = Run(max((self.app.home / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime))
        first = waited(begun, lambda: run.preview_path(0).exists())
        expect(page.locator("#transfer-status")).to_contain_text(re.compile("Step [1-9]"))
        tell("Start to the first step, s", taken=first, seen=time.monotonic() - begun)
        page.wait_for_timeout(3000)
        p95 = self.slider(other, "during a run")
        begun = time.monotonic()
        page.locator("#transfer-stop").click()
        saved = waited(begun, lambda: run.info.state == "stopped")
        seen(page, "#transfer-samples img", 64)
        tell("Stop to a saved model, s", saved=saved, samples_seen=time.monotonic() - begun)
        page.context.close()
        return p95


def tell(figure, **values):
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"figure": figure, **rounded, "load": round(os.getloadavg()[0], 1)}), flush=True)


def take_example(page):
    tab(page, "Transfer")
    page.locator("#transfer-sets button").first.click()
    expect(page.locator("#transfer-summary")).to_contain_text("pictures can be used")


def without_a_browser(folder):
    """16 pictures, a frame of the slider, a step of the training (as the worker makes it: on one thread)."""
    studio = Studio("cpu", folder)
    first = studio.models.list()[0].id
    *_, encoding = studio.runs.encode([ROOT / "assets/aliens"], first)
    sixteen = [lasted(lambda i=i: studio.draw.sample(first, range(16 * i, 16 * i + 16))) for i in range(16)]
    frames = [
        lasted(lambda i=i: [*studio.explore.along(first, [View(1), View(2)], [i / 40])]) for i in range(41)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    steps = [30 / steps_for(encoding.codes.w, DEFAULT, 30) for _ in range(3)]
    torch.set_num_threads(threads)
    for name, took in (("16 pictures", sixteen), ("a frame", frames), ("a step of the training", steps)):
        tell(f"{name}, without a browser, ms", median=1000 * statistics.median(took[1:]))


def lasted(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def seen(page, images, count):
    """All are there, and those in the window are loaded: Gradio leaves the others until one scrolls to them."""
    expect(page.locator(images)).to_have_count(count)
    page.locator(images).first.scroll_into_view_if_needed()
    page.wait_for_function(IN_VIEW, arg=images)


def waited(begun, happened):
    """Seconds from `begun` until it happened."""
    while not happened():
        time.sleep(0.01)
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="of each figure; 0: none in a browser")
    parser.add_argument("--shot", type=Path, help="a screenshot of the first result goes here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    without_a_browser(folder / "alone")
    if not options.times:
        return
    with live_app(folder, None) as app, launched() as browser:
        bench = Bench(app, browser)
        bench.opening(options.times)
        other, _ = bench.page()
        tab(other, "Interpolate")
        expect(other.locator("#interpolate-strip img").first).to_be_visible()
        other.evaluate(DRAG, 5)
        for i in range(options.times):
            bench.four_clicks(options.shot if i == 0 else None)
        ratios = []
        for _ in range(options.times):
            quiet = bench.slider(other, "without a run")
            ratios.append(bench.run(other) / quiet)
        tell("slider p95 during a run / without", median=statistics.median(ratios), most=max(ratios))


if __name__ == "__main__":
    main()
