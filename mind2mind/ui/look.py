"""How the app looks: the theme with the system's own fonts, and the little CSS that Gradio needs."""

import gradio as gr

THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    block_title_background_fill="transparent",
    block_title_background_fill_dark="transparent",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_padding="0",
    body_text_color_subdued="*neutral_600",
    body_background_fill="*neutral_100",  # on it the white blocks are seen, and with a border what can be pressed
    input_border_width="1px",
    input_border_color="*neutral_300",
    button_secondary_border_color="*neutral_300",
    checkbox_border_color="*neutral_400",
)

CSS = """
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.m2m-hero h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.02em; }
.m2m-hero p { margin: .35rem 0 0; font-size: 1.05rem; color: var(--body-text-color-subdued); }
.m2m-models { margin: .8rem 0 0; padding: 0; list-style: none; }
.m2m-models li { margin: .2rem 0; }
.m2m-note { color: var(--body-text-color-subdued); font-size: .92rem; line-height: 1.45; }
.m2m-note p { margin: .2rem 0; }
.m2m-note, .m2m-foot { overflow-wrap: anywhere; }
.m2m-hero a, .m2m-note a, .m2m-foot a { padding: 0; margin: 0; }
.m2m-step h2 { font-size: 1.2rem; margin: .6rem 0 .1rem; }
.m2m-good, .m2m-fair, .m2m-poor { border-left: 4px solid; padding: .5rem .9rem; border-radius: 6px;
  background: var(--background-fill-secondary); }
.m2m-good { border-color: #16a34a; } .m2m-fair { border-color: #d97706; } .m2m-poor { border-color: #dc2626; }
.m2m-bar { height: 10px; border-radius: 5px; background: var(--border-color-primary); overflow: hidden;
  margin: .5rem 0; }
.m2m-bar > div { height: 100%; background: var(--color-accent); transition: width .4s linear; }
.m2m-table { max-height: 320px; overflow: auto; }
.m2m-table table { width: 100%; border-collapse: collapse; font-size: .88rem; }
.m2m-table th, .m2m-table td { text-align: left; padding: .25rem .6rem;
  border-bottom: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.m2m-table th, .m2m-table td:nth-child(2) { overflow-wrap: normal; white-space: nowrap; }
.m2m-settings .form { display: contents !important; }
.m2m-settings { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); }
.m2m-log { font-size: .88rem; } .m2m-log summary { cursor: pointer; }
.m2m-log pre { max-height: 260px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.m2m-tiles .grid-wrap, .m2m-pairs .grid-wrap, .m2m-sets .grid-wrap { min-height: 0 !important;
  max-height: none !important; padding: 4px; }
.m2m-tiles .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(68px, 22%, 150px), 1fr)) !important; }
.m2m-tiles .grid-container:has(> :nth-child(25)) { grid-template-columns:
  repeat(auto-fill, minmax(clamp(54px, 11.2%, 140px), 1fr)) !important; }
.m2m-small .grid-container, .m2m-pairs .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(68px, 11%, 130px), 1fr)) !important; }
.m2m-pairs .grid-container:has(> :nth-child(25)) { grid-template-columns:
  repeat(auto-fill, minmax(clamp(54px, 5.4%, 80px), 1fr)) !important; }
.m2m-tiles .grid-container { grid-auto-rows: auto !important; }
.m2m-tiles .thumbnail-lg { aspect-ratio: 1 / 1 !important; }
.m2m-pairs .thumbnail-lg { aspect-ratio: 1 / 2 !important; }
.m2m-sets .grid-container { padding: 0; grid-template-columns:
  repeat(auto-fill, minmax(clamp(88px, 22%, 130px), 1fr)) !important; }
.m2m-sets img { object-fit: cover !important; }
[data-testid=status-tracker].hide { display: none !important; }
[id^=transfer-]:has(> .html-container > .prose:empty) { display: none; }
.m2m-tiles .caption-label, .m2m-pairs .caption-label { display: none; }
.m2m-picture img { width: 100% !important; height: 100% !important; object-fit: contain; }
.m2m-sets .caption-label { font-size: .75rem; max-width: 100%; left: 0; right: 0; bottom: 0; }
.m2m-strip img { width: 100% !important; height: auto !important; }
.m2m-sizes { font-size: .88rem; width: min(100%, 420px); margin: .3rem 0 .6rem; }
.m2m-sizes caption { text-align: left; color: var(--body-text-color-subdued); }
.m2m-sizes th { text-align: left; font-weight: normal; white-space: nowrap; padding-right: .6rem; }
.m2m-sizes td:nth-child(2) { width: 100%; } .m2m-sizes td:last-child { text-align: right; padding-left: .6rem; }
.m2m-count { height: 10px; border-radius: 3px; background: var(--color-accent); }
.m2m-closer { max-width: 320px; }
.m2m-side { align-items: center; }
.m2m-cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.m2m-card { display: flex; gap: .9rem; align-items: flex-start; overflow-wrap: anywhere; min-width: 0; }
.m2m-cards .m2m-card { padding: .8rem; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.m2m-card > div { min-width: 0; } .m2m-card p { margin: .2rem 0; }
.m2m-card h3 { margin: 0; font-size: 1.05rem; } .m2m-card summary { cursor: pointer; font-size: .92rem; }
.m2m-card img { width: 128px; height: auto; border-radius: 6px; flex: none; margin: 0; }
.m2m-offer { align-items: center; padding: .5rem 0; border-bottom: 1px solid var(--border-color-primary); }
.m2m-foot { margin-top: 1.6rem; padding-top: .8rem; border-top: 1px solid var(--border-color-primary);
  font-size: .85rem; color: var(--body-text-color-subdued); }
@media (max-width: 640px) { .m2m-hero h1 { font-size: 1.5rem; } .m2m-offer { flex-wrap: wrap !important; }
  .m2m-offer > * { min-width: 100% !important; } .m2m-card img { width: 96px; }
  #tabs .tab-container button { padding-left: .6rem; padding-right: .6rem; } }
"""
