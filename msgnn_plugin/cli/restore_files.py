"""The files of one `basicsr restore`: each one read, restored and written, or known to be done, or told to be bad."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgnn_plugin.cli.errors import name_once
from msgnn_plugin.cli.in_order import run_in_order
from msgnn_plugin.data.comparison import make_comparison
from msgnn_plugin.data.image_file import read_picture, write_picture
from msgnn_plugin.data.result_mark import digest_file, make_mark, read_png_mark

if TYPE_CHECKING:
    from msgnn_plugin.data.picture_files import PictureJob
    from msgnn_plugin.restoration import Restorer

# What bad files raise; anything else ends the run.
_BAD = (ValueError, OSError, MemoryError)
# What changes a result. `--device`, `--jobs` and `--memory` are about the way to it.
_SETTINGS = ("tile", "tile_overlap", "database", "dtype", "self_ensemble", "rounding")


class FileRun:
    """One run over files.

    A result carries a mark of what it was made from: the contents of the source, of the weights and of the exemplars,
    and the settings. Where the mark is that of this run, the file is done.

    Args:
        args: What the command line says.
        restorer: What to put pictures through.
        progress: The three functions of `progress_bar`.

    Attributes:
        restored: How many files were restored.
        skipped: How many an earlier run had done.
        failed: How many could not be; each was told.
    """

    def __init__(
        self, args: argparse.Namespace, restorer: "Restorer", progress: tuple[Callable, Callable, Callable]
    ) -> None:
        self.args = args
        self.restorer = restorer
        self.begin, self.advance, self.tell = progress
        self.restored = self.skipped = self.failed = 0
        self._made_by = self._describe()

    @property
    def note(self) -> str:
        """What to say of files that were not restored."""
        skipped = f" {self.skipped} were done before (`--force` does them again)." if self.skipped else ""
        return skipped + (f" {self.failed} failed: see the errors above." if self.failed else "")

    def restore_pictures(self, jobs: "Sequence[tuple[PictureJob, Path | None]]") -> None:
        """Restore pictures, each beside its clean one if there is one; as many at a time as `--jobs` says."""
        if not jobs:
            return
        self.begin("Restoring", len(jobs))
        with closing(run_in_order(self._try_picture, jobs, self.args.jobs)) as outcomes:
            for (job, _), outcome in zip(jobs, outcomes, strict=True):
                self._count(outcome, job)
                self.advance(1)

    def restore_videos(self, jobs: "Sequence[PictureJob]") -> None:
        """Restore videos, one after the other."""
        for job in jobs:
            try:
                self._count(self._restore_video(job), job)
            except (*_BAD, ImportError) as error:
                self._count(error, job)

    def _count(self, outcome: bool | Exception, job: "PictureJob") -> None:
        if isinstance(outcome, Exception):
            self.failed += 1
            shared = isinstance(outcome, MemoryError) and self.args.jobs > 1
            why = f" (each of the {self.args.jobs} `--jobs` gets its part)" if shared else ""
            self.tell(f"basicsr restore: error: {name_once(outcome, job.source)}{why}")
        else:
            self.restored += outcome
            self.skipped += not outcome

    def _try_picture(self, job: "tuple[PictureJob, Path | None]") -> bool | Exception:
        try:
            return self._restore_picture(*job)
        except _BAD as error:
            return error

    def _restore_picture(self, job: "PictureJob", clean: Path | None) -> bool:
        """Return whether there was anything to do."""
        compare = self.args.compare or clean is not None
        mark = make_mark(digest_file(job.source), self._made_by)
        strip_mark = make_mark(mark, None if clean is None else digest_file(clean))
        strip_is_done = not compare or read_png_mark(job.comparison) == strip_mark
        if not self.args.force and read_png_mark(job.output) == mark and strip_is_done:
            return False
        picture = read_picture(job.source)
        derained = self.restorer(picture, job.source)
        write_picture(job.output, derained, picture, self.args.rounding, mark)
        if compare:
            strip = make_comparison(picture.rgb, derained, None if clean is None else read_picture(clean).rgb)
            write_picture(job.comparison, strip / 255, mark=strip_mark)
        return True

    def _restore_video(self, job: "PictureJob") -> bool:
        """Return whether there was anything to do."""
        try:
            from msgnn_plugin.cli.restore_video import PART_FRAMES, restore_video
            from msgnn_plugin.data.video_writing import read_video_mark
        except ImportError as error:
            raise ImportError(
                f"{job.source}: videos need the package av: `pip install 'msgnn_plugin[video]'`."
            ) from error
        mark = make_mark(digest_file(job.source), self._made_by, self.args.crf, PART_FRAMES)
        if not self.args.force and job.output.is_file() and read_video_mark(job.output).endswith(mark):
            return False
        restore_video(
            self.restorer,
            job.source,
            job.output,
            mark=mark,
            crf=self.args.crf,
            rounding=self.args.rounding,
            jobs=self.args.jobs,
            begin=self.begin,
            advance=self.advance,
            tell=lambda sentence: self.tell(f"basicsr restore: {sentence}"),
        )
        return True

    def _describe(self) -> dict[str, Any]:
        """Return what all results of this run are made by."""
        exemplar = self.args.exemplar
        if Path(exemplar).is_dir():
            exemplar = sorted(digest_file(path) for path in self.restorer.exemplar.paths)
        elif exemplar not in ("auto", "self"):
            exemplar = digest_file(exemplar)
        settings = {name: getattr(self.args, name) for name in _SETTINGS}
        return {"weights": digest_file(self.args.weights), "exemplar": exemplar, **settings}
