"""The page of `basicsr demo`: its layout, and what happens on it."""

from pathlib import Path
from typing import Any

import gradio as gr

from msgnn_plugin.cli.demo_actions import SLIDER, PageActions
from msgnn_plugin.cli.demo_models import DemoModels

# Seconds for which uploads and results are kept, and seconds between looking for older ones.
KEPT, SWEPT = 3600, 600
_HEIGHT = 420  # of the pictures, in pixels of the screen
_FONT = ("system-ui", "sans-serif")
CSS = """
.gradio-container { width: 100% !important; max-width: 1400px !important; margin: 0 auto; }
.complaint { border-left: 4px solid #b91c1c; padding: 0.5em 0.8em; background: #fef2f2; color: #7f1d1d; }
.note { opacity: 0.85; }
"""


def make_theme() -> gr.themes.Base:
    """Return a theme with the system's own fonts, for which nothing is fetched."""
    theme = gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=("ui-monospace", "monospace"))
    return theme.set(block_info_text_color="*neutral_600")  # darker, to be read easily


def build_page(models: DemoModels, folder: Path, *, jobs: int, waiting: int, megabytes: float) -> gr.Blocks:
    """Build the page.

    Args:
        models: What computes.
        folder: The server's folder for uploads and results.
        jobs: How many requests are worked on at a time.
        waiting: How many more may wait.
        megabytes: Largest file that may be uploaded, to be told.
    """
    actions = PageActions(models, folder)
    picture_settings = {"interactive": False, "format": "png"}
    with gr.Blocks(title="Take the rain out", analytics_enabled=False, delete_cache=(SWEPT, KEPT)) as page:
        gr.Markdown("# Take the rain out of a picture")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture = gr.File(label="Rainy picture", height=170, elem_id="picture")
                _note(f"PNG, JPEG, TIFF and others, up to {megabytes:g} MB and {models.max_pixels / 1e6:g} megapixels.")
                model = gr.Dropdown(models.names, value=models.names[0], label="Model", elem_id="model")
                exemplar = gr.Radio(
                    **actions.exemplar_settings(models.names[0]),
                    label="Exemplar",
                    info="A second rainy picture in which the model looks for similar patches.",
                    elem_id="exemplar",
                )
                own = gr.File(label="Exemplar picture", height=170, visible=False, elem_id="own-exemplar")
                start = gr.Button("Take the rain out", variant="primary", elem_id="start")
                message = gr.HTML(elem_id="message", padding=False)
            with gr.Column(scale=2, min_width=320):
                shown = gr.Image(label="Rainy", height=_HEIGHT, buttons=[], elem_id="shown", **picture_settings)
                caption = _note(actions.graph_note(models.names[0]), elem_id="caption")
            with gr.Column(scale=2, min_width=320):
                slider = gr.ImageSlider(
                    label=SLIDER,
                    height=_HEIGHT,
                    max_height=_HEIGHT,
                    buttons=["fullscreen"],
                    elem_id="slider",
                    **picture_settings,
                )
                download = gr.DownloadButton("Download the result", interactive=False, elem_id="download")
        figure = gr.Image(
            label="Neighbours", buttons=["fullscreen"], visible=False, elem_id="figure", **picture_settings
        )
        _note(
            "Pictures stay on the machine that serves this page. What is uploaded and made is deleted after "
            f"{KEPT // 60} minutes, and when the server stops."
        )
        found = gr.State(time_to_live=KEPT)
        request = [picture, model, exemplar, own]
        results = [message, slider, download, caption, figure]
        # One queue for all that computes, so that the cores and the memory are shared as told.
        heavy = {"concurrency_limit": jobs, "concurrency_id": "network", "api_visibility": "private"}
        light = {"api_visibility": "private", "show_progress": "hidden"}
        picture.change(actions.show, [picture, model], [*results, shown, found], **light | {"show_progress": "minimal"})
        model.change(actions.choose_model, [model], [exemplar, own, caption, figure], **light)
        exemplar.change(actions.choose_exemplar, [model, exemplar], [own, caption, figure], **light)
        start.click(actions.derain, request, [message, slider, download], **heavy, show_progress_on=[slider])
        shown.select(actions.find, [*request, found], [caption, figure, found], **heavy, show_progress_on=[caption])
    page.queue(max_size=waiting, default_concurrency_limit=8)
    return page


def _note(text: str, **settings: Any) -> gr.HTML:
    return gr.HTML(text, elem_classes="note", padding=False, **settings)
