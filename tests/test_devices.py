"""Devices and precisions."""

from __future__ import annotations

import pytest
import torch

from capriccio import devices
from capriccio.devices import choose_device, choose_precision, tuned_libraries
from capriccio.errors import ConfigError

CPU = torch.device("cpu")


def test_auto_takes_the_first_of_cuda_mps_and_cpu(monkeypatch):
    for cuda, mps, chosen in ((True, True, "cuda:1"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert str(choose_device("auto")) == chosen


def test_float32_products_are_rounded_only_on_gpus_whose_maps_are_coarser_and_only_meanwhile():
    def told():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark

    before = told()
    with tuned_libraries(CPU, torch.bfloat16):
        assert told() == before
    for dtype, products in ((torch.bfloat16, "high"), (torch.float16, "high"), (None, "highest")):
        with tuned_libraries(torch.device("cuda"), dtype):
            assert told() == (products, True)
        assert told() == before


@pytest.mark.parametrize(("name", "told"), [("gpu", "'gpu' is not a device"), ("cuda:7", "has 0 CUDA devices"),
                                            ("mps", "mps is not available"), ("meta", "'meta' is not a device here"),
                                            ("cpu:3", "'cpu:3' is not a device here")])  # fmt: skip
def test_devices_that_are_not_there_are_told(name, told, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=told):
        choose_device(name)


def test_auto_precision_on_a_processor_follows_its_instructions(monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    assert choose_precision("auto", CPU).dtype is torch.bfloat16
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    assert choose_precision("auto", CPU).dtype is None


def test_auto_precision_on_a_gpu_prefers_bf16(monkeypatch):
    for has, name in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert choose_precision("auto", torch.device("cuda")).name == name


def test_precision_as_asked_or_refused():
    assert choose_precision("fp32", CPU).dtype is None
    assert choose_precision("bf16", CPU).dtype is torch.bfloat16
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="'fp8' is none of"):
        choose_precision("fp8", CPU)
