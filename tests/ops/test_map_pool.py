"""The memory that maps of a fused pass share."""

import resource
import sys
import threading

import pytest
import torch

from msgnn_plugin import MSGNNArch, _extension
from msgnn_plugin.ops.dense_merge import dense_merge
from msgnn_plugin.ops.map_pool import map_pool

pytestmark = pytest.mark.skipif(not _extension.LOADED, reason="compiled ops are not loaded")
SHAPE = (1, 32, 160, 256)  # 5 MiB, above what is left to the C library


def merge(value):
    image = torch.full(SHAPE, value).contiguous(memory_format=torch.channels_last)
    return copied(image)


def copied(image):
    return dense_merge([image], torch.eye(32).view(32, 32, 1, 1), torch.zeros(32), 1.0)[0]


def test_memory_of_a_map_that_is_gone_serves_the_next_one():
    with map_pool():
        first = merge(1.0)
        place = first.data_ptr()
        assert merge(2.0).data_ptr() != place
        del first
        assert merge(3.0).data_ptr() == place
        assert (merge(4.0) == 4).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can take pages back")
def test_the_next_pass_finds_the_memory_of_the_last():
    with map_pool():
        place = merge(1.0).data_ptr()
    with map_pool():
        image = merge(2.0)
    assert image.data_ptr() == place
    assert (image == 2).all()


def test_a_smaller_map_takes_a_larger_place_and_a_larger_one_frees_the_smaller():
    small, large = torch.zeros(1, 32, 140, 256), torch.zeros(1, 32, 320, 256)
    with map_pool():
        place = copied(large).data_ptr()
        assert copied(small).data_ptr() == place
        held = copied(small)
        assert (copied(large + 1) == 1).all()
        assert (held == 0).all()


def test_maps_outlive_the_pool():
    with map_pool():
        kept = merge(1.0)
        merge(2.0)
    with map_pool():
        others = [merge(float(value)) for value in range(3, 8)]
    assert (kept == 1).all()
    assert all((image == value).all() for value, image in enumerate(others, 3))


def test_an_error_closes_the_pool():
    with pytest.raises(ValueError, match="maps"), map_pool():
        dense_merge([], torch.zeros(1), torch.zeros(1), 1.0)
    with pytest.raises(RuntimeError, match="must follow an open_map_pool"):
        torch.ops.msgnn_plugin.close_map_pool()


def test_memory_does_not_grow_from_pass_to_pass():
    network, image = MSGNNArch(num_blocks=3, num_groups=2, graph=False).eval(), torch.rand(1, 3, 512, 512)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with torch.no_grad():
        network(image)
        before = peak()
        for _ in range(5):
            network(image)
    assert peak() - before < 40 * 1024  # KiB; a map has 32 MiB


def test_passes_of_several_threads_do_not_mix():
    torch.manual_seed(0)
    network = MSGNNArch(num_blocks=2, num_groups=2, use_exemplar=False, scales=(1,)).eval()
    images = [torch.rand(1, 3, 200, 180 + 7 * number) for number in range(3)]
    with torch.no_grad():
        expected = [network(image) for image in images]
    results = [None] * len(images)

    def work(number):
        with torch.no_grad():
            for _ in range(3):
                results[number] = network(images[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, wanted in zip(results, expected):
        assert torch.equal(result, wanted)
