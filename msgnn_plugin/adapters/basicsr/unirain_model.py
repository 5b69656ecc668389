"""`UniRainModel`: a loss by type of rain, weighted by how fast each type converges (UniRain, CVPR 2026, Eq. 6-10).

Imports BasicSR, so it is itself imported only by `registration.register`, after the mends.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor
from torch.utils.data import DataLoader

from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.models import MSGNNModel
from msgnn_plugin.adapters.basicsr.typed_measuring import TypedMetricTable
from msgnn_plugin.data.typed_pairs import TYPES
from msgnn_plugin.losses import MultiObjectiveBalancer

# Of the running share of a mixture: below it an expert counts as unused. Unused since the start takes 280 iterations.
LEAST_LOAD = 0.02
BALANCER_KEYS = ("mode", "window", "tau", "warmup")


class UniRainModel(MSGNNModel):
    """Train and test on several types of rain inside BasicSR.

    The loss of an iteration is the sum over the types of weight x mean loss of the type's samples x their share of the
    batch. Every ``train.balancing.freq`` iterations the mean absolute error of each type is measured on the first
    validation set, and `MultiObjectiveBalancer` turns it into the weights of the iterations that follow.

    Args:
        opt: BasicSR's options; see `option_keys` for those beyond `MSGNNModel`'s.
    """

    option_keys: dict[str, Any] = {  # noqa: RUF012 - read by the schema, never changed
        **MSGNNModel.option_keys,
        "train.balancing.mode": Literal["paper", "released", "tbs", "tss", "equal"],
        "train.balancing.window": int,
        "train.balancing.tau": float,
        "train.balancing.warmup": int,
        "train.balancing.freq": int,
        "train.balancing.crop": int,
        "train.balancing.limit": int | None,
    }
    needed_options = ("train.pixel_opt",)
    table_class = TypedMetricTable

    @staticmethod
    def check_options(opt: dict[str, Any], is_train: bool) -> None:
        """See that the sets are typed and alike, and that the balancing can be done.

        Raises:
            ValueError: At the first rule that is broken.
        """
        if not is_train:
            return
        types = _types(opt["datasets"]["train"])
        if types is None:
            raise ValueError(
                "`datasets.train.type` must be a data set with types of rain, such as TypedPairDataset, got "
                f"{opt['datasets']['train']['type']}."
            )
        balancing = opt["train"].get("balancing") or {}
        balancer = _balancer(balancing, len(types))
        if balancer.mode == "equal":
            return
        for key in ("freq", "crop", "limit"):
            if balancing.get(key) is not None and balancing[key] < 1:
                raise ValueError(f"`train.balancing.{key}` must be at least 1, got {balancing[key]}.")
        if "freq" not in balancing:
            raise ValueError("`train.balancing.freq` must say every how many iterations to measure, got nothing.")
        if balancing.get("crop") is None and opt["datasets"]["train"].get("gt_size") is None:
            raise ValueError("`train.balancing.crop` must be given where `datasets.train.gt_size` is not.")
        measured = _measured_set(opt)
        if measured is None or _types(measured) != types:
            got = "none" if measured is None else f"one of {_types(measured)}"
            raise ValueError(f"`datasets.val` must be a set of the types {types} to weigh them by, got {got}.")

    def init_training_settings(self) -> None:
        """Set up what `MSGNNModel` does, and the balancer."""
        super().init_training_settings()
        self.types = _types(self.opt["datasets"]["train"])
        self.balancing = self.opt["train"].get("balancing") or {}
        self.balancer = _balancer(self.balancing, len(self.types))
        self.type_weights = self.balancer.weights()
        self.unused_experts: set[str] = set()
        self._crops: list[tuple[int, Tensor, Tensor]] | None = None

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; ``type_id`` says of which type each sample is."""
        super().feed_data(data)
        if "type_id" in data:
            self.type_ids = data["type_id"]

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration; where it is time, measure the types and weigh them anew.

        Raises:
            RuntimeError: If the loss or a gradient is not finite. The weights are as before.
        """
        super().optimize_parameters(current_iter)
        if self.balancer.mode != "equal" and current_iter % self.balancing["freq"] == 0:
            self._balance(current_iter)
        self.log_dict |= {f"w_{name}": w for name, w in zip(self.types, self.type_weights.tolist(), strict=True)}
        logger = self.opt["logger"]
        if current_iter % logger["print_freq"] == 0 or current_iter % logger["save_checkpoint_freq"] == 0:
            self._watch_experts(current_iter % logger["save_checkpoint_freq"] == 0)

    def _parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        for part, type_ids in zip(super()._parts(), self.type_ids.chunk(self.num_parts), strict=True):
            self.part_type_ids = type_ids
            yield part

    def _losses(self, derained: Tensor, clean: Tensor) -> dict[str, Tensor]:
        losses = {}
        for number, name in enumerate(self.types):
            places = (self.part_type_ids == number).nonzero()[:, 0]
            loss = derained.new_zeros(())
            if len(places):
                share = self.type_weights[number].item() * len(places) / len(derained)
                loss = share * sum(super()._losses(derained[places], clean[places]).values())
            losses[f"l_{name}"] = loss
        return losses

    @torch.no_grad()
    def type_losses(self) -> Tensor:
        """Measure the mean absolute error of every type, shape (K,), float64 on the CPU; the processes share the work.

        On the centre crops of the validation pictures, as the released script does, and with the network that is
        validated: where there is an average, its losses have slopes in place of noise.
        """
        if self._crops is None:
            self._crops = self._read_crops()
        net = self.validated_network()
        training = net.training
        net.eval()
        sums = torch.zeros(2, len(self.types), dtype=torch.float64)
        for number, rainy, clean in self._crops:
            derained = net(rainy.to(self.device))
            sums[0, number] += (derained - clean.to(self.device)).abs().mean().item()
            sums[1, number] += 1
        net.train(training)
        if self.opt["dist"]:
            shared = sums.to(self.device)
            dist.all_reduce(shared)
            sums = shared.cpu()
        return sums[0] / sums[1]

    def _read_crops(self) -> list[tuple[int, Tensor, Tensor]]:
        """Return this process's part of the pictures: number of the type, rainy and clean centre crop (1, 3, h, w)."""
        limit = self.balancing.get("limit")
        section = dict(_measured_set(self.opt))
        if limit is not None:
            section["limit"] = min(limit, section.get("limit") or limit)
        dataset = build_dataset(section)
        side = self.balancing.get("crop") or self.opt["datasets"]["train"]["gt_size"]
        crops = []
        for index in range(self.opt["rank"], len(dataset), self.opt["world_size"]):
            sample = dataset[index]
            crops.append((sample["type_id"], *(_centre(sample[key], side)[None].clone() for key in ("lq", "gt"))))
        return crops

    def _balance(self, current_iter: int) -> None:
        losses = self.type_losses()
        weights = self.balancer.update(losses).to(self.device)
        if self.opt["dist"]:
            dist.broadcast(weights, src=0)
        self.type_weights = weights.cpu()
        text = ", ".join(
            f"{name} {loss:.5f} -> {weight:.4f}"
            for name, loss, weight in zip(self.types, losses.tolist(), self.type_weights.tolist(), strict=True)
        )
        get_root_logger().info(f"Validation L1 and weight by type at iteration {current_iter}: {text}")

    def _watch_experts(self, report: bool) -> None:
        """Log how the experts are used, and warn once of each that hardly any image goes to."""
        net = self.get_bare_model(self.net_g)
        loads = net.expert_loads() if hasattr(net, "expert_loads") else {}
        if not loads:
            return
        self.log_dict["least_load"] = min(map(min, loads.values()))
        logger = get_root_logger()
        if report:
            text = "; ".join(f"{name} {' '.join(f'{x:.2f}' for x in load)}" for name, load in loads.items())
            logger.info(f"Recent loads of the experts: {text}")
        unused = {f"{name}, expert {i}" for name, load in loads.items() for i, x in enumerate(load) if x < LEAST_LOAD}
        for name in sorted(unused - self.unused_experts):
            logger.warning(f"Router collapse: {name} gets less than {LEAST_LOAD:.0%}; raise `network_g.noise_std`.")
        self.unused_experts = unused

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Derain and measure every image of a set, by type where it has types; see `ValidationMixin`."""
        self.measured_types = getattr(dataloader.dataset, "types", ())
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def image_name(self, data: dict[str, Any]) -> str:
        """Return the image's name behind that of its type, since types may share names."""
        name, of = super().image_name(data), self._type_of(data)
        return name if of is None else f"{of}_{name}"

    def _type_of(self, data: dict[str, Any]) -> str | None:
        return self.measured_types[int(data["type_id"][0])] if "type_id" in data and self.measured_types else None

    def _measure_image(self, data: dict[str, Any], table: TypedMetricTable, *rest: Any) -> None:
        table.current_type = self._type_of(data)
        super()._measure_image(data, table, *rest)

    def _report(self, table: TypedMetricTable, name: str, step: int | str, tb_logger: Any) -> None:
        super()._report(table, name, step, tb_logger)
        parts = table.by_type()
        if not parts:
            return
        folder = Path(self.opt["path"]["log"]) / "metrics"
        path = folder / name / f"{step}_by_type.csv" if self.is_train else folder / f"{name}_by_type.csv"
        self._write(lambda: table.write_by_type(path), path)
        for of, (_, means) in parts.items() if tb_logger else ():
            for metric, value in means.items():
                tb_logger.add_scalar(f"metrics/{name}/{of}/{metric}", value, step)

    def more_state(self) -> dict[str, Any]:
        """Return the balancer's state, for exact resuming."""
        return {"balancer": self.balancer.state_dict()}

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take up what `SavingMixin` does and the balancer's losses, from which the weights follow."""
        if "balancer" in resume_state:
            self.balancer.load_state_dict(resume_state["balancer"])
            self.type_weights = self.balancer.weights()
        super().resume_training(resume_state)


def _types(section: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the types of a data set's section, or None where that kind of data set has none."""
    dataset = registered("dataset")[section["type"]]
    return tuple(section.get("types", TYPES)) if "types" in getattr(dataset, "option_keys", ()) else None


def _measured_set(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Return the section of the first validation set."""
    return next((section for phase, section in opt["datasets"].items() if phase.startswith("val")), None)


def _balancer(balancing: dict[str, Any], count: int) -> MultiObjectiveBalancer:
    settings = {key: balancing[key] for key in BALANCER_KEYS if key in balancing}
    return MultiObjectiveBalancer(num_objectives=count, **settings)


def _centre(image: Tensor, side: int) -> Tensor:
    """Cut the centre out of an image (3, H, W) that is larger than ``side``."""
    height, width = image.shape[1:]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return image[:, top : top + side, left : left + side]
