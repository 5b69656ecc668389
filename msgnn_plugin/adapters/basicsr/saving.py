"""What a training run keeps on disk: checkpoints that survive a kill or a full disk, and the best weights so far."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from torch import Tensor, nn

from msgnn_plugin.adapters.basicsr.checkpoints import write_checkpoint
from msgnn_plugin.archs import load_weights

BEST = "net_g_best.pth"


def on_cpu(net: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights on the CPU."""
    return {name: value.cpu() for name, value in net.state_dict().items()}


class SavingMixin:
    """The part of `DerainingModel` that writes and resumes.

    ``self.best`` is the record of the best validation so far, ``{"dataset", "metric", "value", "iter"}`` or empty. It
    lies in every state and inside the best weights themselves, which are the truth where the two differ.
    """

    def set_up_record(self) -> None:
        """Settle which metric of which set decides about the best weights."""
        val = self.opt.get("val") or {}
        wanted, metrics = val.get("save_best", True), list(val.get("metrics") or {})
        sets = [options["name"] for phase, options in self.opt["datasets"].items() if phase.startswith("val")]
        self.best: dict[str, Any] = {}
        self.best_key: tuple[str, str] | None = None
        if wanted and metrics and sets:
            self.best_key = (sets[0], wanted if isinstance(wanted, str) else metrics[0])
        self.validated_iter = -1
        self.saved_iter = -1

    def save(self, epoch: int, current_iter: int) -> None:
        """Write weights, then the state that belongs to them.

        Args:
            epoch: Epoch at hand.
            current_iter: Iteration, or -1 for the end of training, which writes ``net_g_latest.pth`` alone.

        Raises:
            OSError: If the disk is full at the end of training. Before that it is logged and training goes on.
        """
        if self.opt["rank"] != 0:
            return
        last = current_iter == -1
        models = Path(self.opt["path"]["models"])

        def write() -> None:
            for network, content in self.weight_files().items():
                write_checkpoint(content, models / f"{network}_{'latest' if last else current_iter}.pth")
            if not last:
                self.epoch, self.saved_iter = epoch, current_iter
                self.write_state(current_iter)

        self.attempt(write, f"the weights of iteration {current_iter} to {models}", last)

    def write_state(self, current_iter: int) -> None:
        """Write the training state of an iteration whose weights are on disk already."""
        state = {
            "epoch": self.epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self.scaler.state_dict(),
            "manual_seed": self.opt["manual_seed"],
            "best": self.best,
            "best_metric_results": getattr(self, "best_metric_results", {}),
            "validated_iter": self.validated_iter,
            **self.more_state(),
        }
        write_checkpoint(state, Path(self.opt["path"]["training_states"]) / f"{current_iter}.state")

    def weight_files(self) -> dict[str, dict[str, Any]]:
        """Return what each file of weights holds, by its name without iteration; a state needs them all."""
        return {"net_g": self.weights()}

    def more_state(self) -> dict[str, Any]:
        """Return what a model of another kind keeps in its states besides; it reads it in `resume_training`."""
        return {}

    def weights(self) -> dict[str, Any]:
        """Return the deraining network under BasicSR's keys, on the CPU."""
        nets = {"params": self.get_bare_model(self.net_g)}
        if hasattr(self, "net_g_ema"):
            nets["params_ema"] = self.net_g_ema
        return {key: on_cpu(net) for key, net in nets.items()}

    def save_best(self, dataset: str, means: dict[str, float], current_iter: int) -> None:
        """Keep the weights if this validation is the best one so far."""
        if self.best_key is None or dataset != self.best_key[0]:
            return
        metric = self.best_key[1]
        if metric not in means:
            get_root_logger().warning(f"{dataset} has no clean pictures to measure {metric} by: no best weights kept.")
            return
        value, before = means[metric], self.best.get("value")
        lower = self.opt["val"]["metrics"][metric].get("better") == "lower"
        # Written so that NaN never counts as better.
        if before is not None and not (value < before if lower else value > before):
            return
        record = {"dataset": dataset, "metric": metric, "value": value, "iter": current_iter}
        path = Path(self.opt["path"]["models"]) / BEST
        if self.attempt(lambda: write_checkpoint({**self.weights(), "best": record}, path), str(path), fatal=False):
            self.best = record

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take up optimisers, schedulers, loss scale and the records of a state."""
        super().resume_training(resume_state)
        if resume_state.get("scaler"):
            self.scaler.load_state_dict(resume_state["scaler"])
        self.epoch, self.saved_iter = resume_state["epoch"], resume_state["iter"]
        self.validated_iter = resume_state.get("validated_iter", -1)
        self.best_metric_results = resume_state.get("best_metric_results", {})
        self.best = self._usable_record(resume_state.get("best"))
        best_file = Path(self.opt["path"]["models"]) / BEST
        if best_file.is_file():
            # A kill may have come between the best weights and the next state.
            self.best = self._usable_record(load_weights(best_file).get("best")) or self.best
        self.validate_missed(resume_state["iter"])

    def _usable_record(self, record: dict[str, Any] | None) -> dict[str, Any]:
        """A record of another set or metric than today's says nothing."""
        return record if record and (record["dataset"], record["metric"]) == self.best_key else {}

    def attempt(self, write: Callable[[], None], what: str, fatal: bool) -> bool:
        """Write something; a disk that is full or gone is logged, and passed on only where ``fatal``.

        Returns:
            Whether it was written.
        """
        try:
            write()
        except OSError as error:
            if fatal:
                raise
            get_root_logger().error(f"Cannot write {what}: {error}. Training goes on; what was saved before is kept.")
            return False
        return True
