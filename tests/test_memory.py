"""The estimate grows with what costs memory; the available memory is the least of what system and groups allow."""

import itertools

import pytest
import torch

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.memory import available_bytes, estimate_bytes

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture(scope="module")
def network():
    return MSGNNArch()


def test_more_pixels_take_more(network):
    sizes = [(1, 1), (64, 64), (64, 65), (321, 481), (1080, 1920), (16000, 16000)]
    for tile, database in itertools.product((None, 256), ("image", "tile")):
        estimates = [estimate_bytes(network, size, tile=tile, database=database) for size in sizes]
        assert estimates == sorted(set(estimates))
    large = [estimate_bytes(network, (64, 64), (side, side)) for side in (64, 640, 6400)]
    assert large[0] <= large[1] < large[2]


def test_smaller_tiles_take_less_and_themselves_least(network):
    size = (1080, 1920)
    by_database = {
        database: [estimate_bytes(network, size, tile=tile, database=database) for tile in (128, 256, 512, 1024, 2048)]
        for database in ("image", "tile")
    }
    for estimates in by_database.values():
        assert estimates == sorted(set(estimates))
        assert estimates[-1] == estimate_bytes(network, size)
    assert all(image >= tile for image, tile in zip(by_database["image"], by_database["tile"]))


def test_larger_networks_take_more():
    size = (512, 512)
    small = estimate_bytes(MSGNNArch(num_feat=8, num_blocks=2), size)
    for change in ({"num_feat": 16}, {"num_blocks": 12}, {"num_feat": 16, "variant": "official"}):
        assert estimate_bytes(MSGNNArch(**{"num_feat": 8, "num_blocks": 2, **change}), size) > small
    single, double = (estimate_bytes(MSGNNArch(num_feat=8).to(dtype), size) for dtype in (torch.float32, torch.float64))
    assert single < double < 2 * single
    assert estimate_bytes(MSGNNArch(graph=False), size) < estimate_bytes(MSGNNArch(), size)


def test_a_search_everywhere_keeps_the_whole_database():
    everywhere, window = (MSGNNArch(num_feat=8, window_size=size) for size in (None, 30))
    assert estimate_bytes(everywhere, (8000, 8000), tile=128) > 2 * estimate_bytes(window, (8000, 8000), tile=128)


class System:
    """The files of a made-up machine."""

    def __init__(self, root):
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {64 * 2**20} kB\nMemAvailable:   {8 * 2**20} kB\n")

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def group(self, folder, names, limit, used, reclaimable):
        for name, value in zip(names, (limit, used)):
            self.write(f"{folder}/{name}", f"{value}\n")
        self.write(f"{folder}/memory.stat", f"anon 5\n{names[2]} {reclaimable}\n")

    def available(self):
        return available_bytes(CPU, self.root)


VERSION_2 = ("memory.max", "memory.current", "inactive_file")
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_what_linux_calls_available(system):
    assert system.available() == 8 * GIB


def test_the_limit_of_a_group_or_one_above_it(system):
    system.write("proc/self/cgroup", "0::/jobs/mine\n")
    system.group("sys/fs/cgroup/jobs/mine", VERSION_2, "max", GIB, 0)
    assert system.available() == 8 * GIB
    system.group("sys/fs/cgroup/jobs", VERSION_2, 4 * GIB, 3 * GIB, GIB // 2)
    assert system.available() == GIB + GIB // 2
    system.group("sys/fs/cgroup/jobs/mine", VERSION_2, 2 * GIB, 3 * GIB, 0)
    assert system.available() == 0


@pytest.mark.parametrize("group", ["/", "/out/of/sight"])
def test_the_limit_of_a_container_of_the_older_kind(system, group):
    system.write("proc/self/cgroup", f"5:cpu:/\n4:memory,hugetlb:{group}\n0::/\n")
    system.group("sys/fs/cgroup/memory", VERSION_1, 3 * GIB, GIB, 0)
    assert system.available() == 2 * GIB


def test_a_system_that_says_nothing_has_what_is_installed(tmp_path):
    assert available_bytes(CPU, tmp_path) >= available_bytes(CPU) > 0
    assert available_bytes(torch.device("meta")) is None
