"""What happens on the page of `basicsr demo`: from the values of its parts to their new ones."""

import html
import secrets
import time
from pathlib import Path
from typing import Any

import gradio as gr

from msgnn_plugin.archs.msgnn import Neighbors
from msgnn_plugin.cli.demo_models import OWN, DemoModels, Request

# What users' files raise. Anything else is a fault of ours: the page says "Error", the terminal has the traceback.
_BAD = (ValueError, MemoryError)
SLIDER = "Before and after: drag the line"
_CLICK = "Click a place in this picture to see which patches the model compares it with."
_NO_GRAPH = "This model has no graph of patches, so there are no neighbours to show."
_LEGEND = (
    "Below: squares mark the patches that the model compares the clicked one with, in each image it searches; under "
    "the images stands each patch with its weight. Click elsewhere for another patch."
)

# A request with what was found for it.
Found = tuple[Request, dict[str, Neighbors]]


class PageActions:
    """The actions of a page; what they know of a user is what that user's page sends.

    Args:
        models: What computes.
        folder: The server's folder for uploads and results.
    """

    def __init__(self, models: DemoModels, folder: Path) -> None:
        self.models = models
        self.folder = folder

    def show(self, picture: str | None, model: str) -> tuple:
        """Show the picture that was dropped, or say what is wrong with it; what belonged to the one before goes.

        Returns:
            For message, slider, download, caption, figure, shown picture and what was found.
        """
        message, shown = "", None
        if picture is not None:
            try:
                shown = self.models.show(picture)
            except _BAD as error:
                message = complain(error, picture)
        download = gr.update(value=None, interactive=False)
        slider = gr.update(value=None, label=SLIDER)
        return message, slider, download, self.graph_note(model), _no_figure(), shown, None

    def choose_model(self, model: str) -> tuple:
        """Offer the exemplars that a model has.

        Returns:
            For exemplar, own exemplar, caption and figure.
        """
        settings = gr.update(**self.exemplar_settings(model))
        return settings, gr.update(visible=False), self.graph_note(model), _no_figure()

    def choose_exemplar(self, model: str, exemplar: str | None) -> tuple:
        """Offer to upload an exemplar where the user has one; neighbours in another exemplar go.

        Returns:
            For own exemplar, caption and figure.
        """
        return gr.update(visible=exemplar == OWN), self.graph_note(model), _no_figure()

    def derain(self, picture: str | None, model: str, exemplar: str | None, own_exemplar: str | None) -> tuple:
        """Take the rain out of the picture.

        Returns:
            For message, slider and download.
        """
        start = time.monotonic()
        try:
            result = self.models.derain(Request(picture, model, exemplar, own_exemplar))
        except _BAD as error:
            complaint = complain(error, picture, own_exemplar)
            return complaint, gr.update(value=None, label=SLIDER), gr.update(value=None, interactive=False)
        # A folder that nobody can guess; gradio deletes the file when its time is over.
        file = self.folder / secrets.token_hex(16) / result.name
        file.parent.mkdir()
        file.write_bytes(result.png)
        name = Path(picture).name
        done = html.escape(f"{name} by {model}: done in {time.monotonic() - start:.1f} s.")
        return (
            done,
            gr.update(value=result.shown, label=f"{SLIDER} ({name})"),
            gr.update(value=str(file), interactive=True),
        )

    def find(
        self,
        picture: str | None,
        model: str,
        exemplar: str | None,
        own_exemplar: str | None,
        found: Found | None,
        click: gr.SelectData,
    ) -> tuple:
        """Show the neighbours of the patch that was clicked; a picture's further clicks need no search.

        Returns:
            For caption, figure and what was found.
        """
        if not self.models.has_graph(model):
            return self.graph_note(model), _no_figure(), None
        request = Request(picture, model, exemplar, own_exemplar)
        try:
            if found is None or found[0] != request:
                found = request, self.models.search(request)
            figure = self.models.draw(request, found[1], tuple(click.index))
        except _BAD as error:
            return complain(error, picture, own_exemplar), _no_figure(), None
        return _LEGEND, gr.update(value=figure, visible=True), found

    def exemplar_settings(self, model: str) -> dict[str, Any]:
        """Return the settings of the choice of exemplar: the first one offered is chosen."""
        offered = self.models.exemplars(model)
        return {"choices": offered, "value": offered[0][1] if offered else None, "visible": bool(offered)}

    def graph_note(self, model: str) -> str:
        """Return what the page says where neighbours will be."""
        return _CLICK if self.models.has_graph(model) else _NO_GRAPH


def complain(error: Exception, *files: str | None) -> str:
    """Return an error's sentence as HTML, with the file it is about: the first one, unless it names another of them."""
    names = [Path(file).name for file in files if file is not None]
    text = " ".join(str(error).split()) or "the memory does not suffice"
    if names and not any(name in text for name in names):
        text = f"{names[0]}: {text}"
    return f'<p class="complaint" role="alert">{html.escape(text)}</p>'


def _no_figure() -> dict[str, Any]:
    return gr.update(value=None, visible=False)
