"""Curves of a report: one panel a quantity, one line a run, as SVG."""

import io
import warnings
from collections.abc import Sequence

# (x, y) of each line, by its label.
Panel = dict[str, Sequence[tuple[int, float]]]
_COLUMNS = 3
_MAX_POINTS = 1000


def draw_panels(panels: dict[str, Panel]) -> bytes:
    """Draw lines against the iterations, a panel for each title.

    Args:
        panels: What to draw; at least one. Names may be anything: they are text, not formulas.

    Returns:
        The figure as SVG, whose text stays text.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 8}
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(3.6 * columns, 2.3 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        # A run has its colour and its name in every panel, also where it is alone there.
        labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
        for axis, (title, lines) in zip(axes, panels.items(), strict=False):
            for label, points in lines.items():
                # Matplotlib leaves labels out that begin with an underscore.
                shown = f" {label}" if label.startswith("_") else label
                few = {"marker": "."} if len(points) <= 20 else {}
                axis.plot(
                    *zip(*_thin(points), strict=True), linewidth=1, color=f"C{labels.index(label)}", label=shown, **few
                )
            axis.set_title(title)
            axis.grid(alpha=0.3)
            if len(labels) > 1:
                axis.legend(fontsize=6)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("iteration", fontsize=8)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _thin(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    return points[:: -(-len(points) // _MAX_POINTS)]
