"""Validation and testing: every image measured, a CSV of them, pictures to look at."""

from pathlib import Path
from typing import Any

import torch.distributed as dist
from basicsr.data import build_dataloader, build_dataset
from basicsr.utils import get_root_logger, tensor2img
from torch.utils.data import DataLoader
from tqdm import tqdm

from msgnn_plugin.adapters.basicsr.measuring import INPUT_PREFIX, MetricTable, side_by_side, write_picture
from msgnn_plugin.data.exemplar_bank import ExemplarBank


class ValidationMixin:
    """The part of `DerainingModel` that measures. The first process does it while the others wait."""

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Validate on the first process and let the others wait for it."""
        if self.opt["rank"] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)
        dist.barrier()

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Derain and measure every image of a set.

        Where the weights carry a bank, an image of a set whose policy is `retrieved`, or that comes without an
        exemplar, gets the one of the bank whose rain is most alike.

        Args:
            dataloader: Loader of single images whose data set has its options in ``opt``.
            current_iter: Iteration, or the run's name in testing.
            tb_logger: TensorBoard writer or None.
            save_img: Whether to write the derained pictures.
        """
        name = dataloader.dataset.opt["name"]
        if self.is_train:
            # BasicSR's loop has counted one further when it validates at the end.
            current_iter = min(current_iter, self.opt["train"]["total_iter"])
            if (name, current_iter) in self._measured():
                return
        val = self.opt["val"]
        table = MetricTable(val.get("metrics") or {}, val.get("input_metrics", False))
        bank = ExemplarBank.of(self.get_bare_model(self.net_g))
        retrieved = dataloader.dataset.opt.get("exemplar") == "retrieved"
        for data in tqdm(dataloader, unit="image", disable=not val.get("pbar", False), desc=name):
            if bank is not None and (retrieved or "exemplar" not in data):
                data["exemplar"] = bank.nearest(data["lq"])
            self._measure_image(data, table, name, current_iter, save_img)
        self._report(table, name, current_iter, tb_logger)
        if self.is_train:
            self._measured().add((name, current_iter))
            self._note_validated(current_iter)

    def validate_missed(self, current_iter: int) -> None:
        """Do the validation of the iteration resumed from, if the run was stopped before or amid it."""
        val = self.opt.get("val")
        if val is None or current_iter % val["val_freq"] or self.validated_iter == current_iter:
            return
        for phase, options in self.opt["datasets"].items():
            if phase.startswith("val"):
                loader = build_dataloader(build_dataset(options), options, dist=self.opt["dist"])
                self.validation(loader, current_iter, None, val["save_img"])

    def _measured(self) -> set[tuple[str, int]]:
        """(set, iteration) of every validation done by this process."""
        if not hasattr(self, "_measured_pairs"):
            self._measured_pairs: set[tuple[str, int]] = set()
        return self._measured_pairs

    def _measure_image(self, data: dict[str, Any], table: MetricTable, name: str, step: int | str, save: bool) -> None:
        image = Path(data["lq_path"][0]).stem
        self.feed_data(data)
        self.test()
        tensors = {"rainy": self.lq, "derained": self.output}
        if "gt" in data:
            tensors["clean"] = self.gt
            del self.gt
        pictures = {key: tensor2img([tensor.detach()]) for key, tensor in tensors.items()}
        if table.metrics:
            table.add(image, **pictures)
        if save:
            self._write_picture(pictures["derained"], name, image, step, self.opt["val"].get("suffix"))
        if self.opt["val"].get("compare", False):
            self._write_picture(side_by_side(list(pictures.values())), name, image, step, "compare")

    def _write_picture(self, picture: Any, name: str, image: str, step: int | str, suffix: str | None) -> None:
        """Write where BasicSR would: a folder an image in training, a folder a set in testing."""
        home = Path(self.opt["path"]["visualization"])
        if self.is_train:
            ending = f"_{suffix}" if suffix == "compare" else ""
            path = home / image / f"{image}_{step}{ending}.png"
        else:
            path = home / name / f"{image}_{suffix or self.opt['name']}.png"
        self._write(lambda: write_picture(picture, path), path)

    def _report(self, table: MetricTable, name: str, step: int | str, tb_logger: Any) -> None:
        """Log, write and remember the means."""
        if not table.rows:
            return
        means = table.means()
        folder = Path(self.opt["path"]["log"]) / "metrics"
        path = folder / name / f"{step}.csv" if self.is_train else folder / f"{name}.csv"
        self._write(lambda: table.write(path), path)
        self.metric_results = {key: value for key, value in means.items() if not key.startswith(INPUT_PREFIX)}
        get_root_logger().info(f"Validation {name}, {len(table.rows)} images\n{table.summary()}\n\t # by image: {path}")
        for key, value in means.items() if tb_logger else ():
            tb_logger.add_scalar(f"metrics/{name}/{key}", value, step)
        if self.is_train:
            self._initialize_best_metric_results(name)
            for metric, value in self.metric_results.items():
                self._update_best_metric_result(name, metric, value, step)
            self.save_best(name, self.metric_results, step)

    def _note_validated(self, step: int) -> None:
        """After the last set, put the new records into the state of the same iteration."""
        sets = [options["name"] for phase, options in self.opt["datasets"].items() if phase.startswith("val")]
        if not all((name, step) in self._measured() for name in sets):
            return
        self.validated_iter = step
        state = Path(self.opt["path"]["training_states"]) / f"{step}.state"
        # A state of that number may also be left from a run that went another way.
        if self.saved_iter == step and state.is_file():
            self.attempt(lambda: self.write_state(step), str(state), fatal=False)

    def _write(self, write: Any, path: Path) -> None:
        """In training a full disk costs this file alone; a test run whose results cannot be written has failed."""
        self.attempt(write, str(path), fatal=not self.is_train)
