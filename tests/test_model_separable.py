"""Maps of patches that come apart into rows, columns and colours: the same map, and nothing else taken for one."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vidtwin_codec.model import load_checkpoint
from vidtwin_codec.model.separable import SeparableMap
from vidtwin_codec.model.transformer import cut_patches, join_patches
from vidtwin_codec.weights import resolve

VECTORS = 6


def matrix(patch: int, channels: int, seed: int) -> Tensor:
    """Products of a few vectors along each axis, no two the same, stored with 16 bits, ``[D, p·p·3]``."""
    generator = torch.Generator().manual_seed(seed)
    axes = [torch.randn(VECTORS, length, generator=generator) for length in (patch, patch, 3)]
    which = torch.randperm(VECTORS**3, generator=generator)[:channels]
    chosen = [axis[which // VECTORS**place % VECTORS] for place, axis in enumerate(axes)]
    scales = torch.randn(channels, generator=generator).exp()
    return torch.einsum("d,dy,dx,dc->dyxc", scales, *chosen).flatten(1).half().float()


@given(patch=st.integers(8, 16), channels=st.integers(60, 90), seed=st.integers(0, 1000))
def test_the_parts_are_the_map(patch: int, channels: int, seed: int) -> None:
    weight = matrix(patch, channels, seed)
    found = SeparableMap.of(weight, patch)
    assert found is not None
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(2, 5, 2 * patch, 3 * patch, 3, generator=generator)
    expected = cut_patches(frames, patch) @ weight.T
    assert torch.allclose(found.analyse(frames), expected, atol=2e-3 * float(expected.abs().max()))
    latents = torch.randn(2, 5, 6, channels, generator=generator)
    expected = join_patches(latents @ weight, patch, (2, 3))
    assert torch.allclose(found.synthesise(latents, (2, 3)), expected, atol=2e-3 * float(expected.abs().max()))


@given(rows=st.integers(1, 4), columns=st.integers(1, 6), frames=st.integers(2, 5), seed=st.integers(0, 1000))
def test_a_frame_alone_has_the_bits_that_it_has_among_others(rows: int, columns: int, frames: int, seed: int) -> None:
    found = SeparableMap.of(matrix(16, 90, seed), 16)
    assert found is not None
    generator = torch.Generator().manual_seed(seed)
    shown = torch.randn(frames, rows * 16, columns * 16, 3, generator=generator)
    channels = found.analyse(shown)
    alone = torch.cat([found.analyse(one) for one in shown.split(1)])
    assert torch.equal(channels, alone)
    back = torch.cat([found.synthesise(one, (rows, columns)) for one in channels.split(1)])
    assert torch.equal(found.synthesise(channels, (rows, columns)), back)


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 6))
def test_joining_undoes_cutting(rows: int, columns: int, patch: int) -> None:
    frames = torch.randn(2, 3, rows * patch, columns * patch, 3)
    patches = cut_patches(frames, patch)
    assert torch.equal(join_patches(patches, patch, (rows, columns)), frames)
    assert torch.equal(patches[:, :, -1], frames[:, :, -patch:, -patch:].flatten(2))


@given(seed=st.integers(0, 1000), place=st.integers(0, 60 * 192 - 1))
def test_a_matrix_that_differs_anywhere_is_left_as_it_is(seed: int, place: int) -> None:
    weight = matrix(8, 60, seed)
    assert SeparableMap.of(weight, 8) is not None
    weight.view(-1)[place] += 0.01 * weight.abs().max()
    assert SeparableMap.of(weight, 8) is None


@pytest.mark.parametrize("weight", [torch.randn(90, 192), torch.zeros(90, 192)])
def test_others_do_not_come_apart(weight: Tensor) -> None:
    assert SeparableMap.of(weight, 8) is None


def test_parts_that_would_take_longer_are_not_used() -> None:
    assert SeparableMap.of(matrix(8, 3, seed=0), 8) is None
    assert SeparableMap.of(torch.randn(20, 3), 1) is None


@torch.inference_mode()
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_mini_comes_apart_and_shows_the_same(precision: str) -> None:
    model = load_checkpoint(resolve("mini").path)
    assert model.encoder is not None
    assert model.decoder is not None
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 16 * 3, 12, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear") * 255
    levels = smooth.view(1, 16, 3, 96, 128).permute(0, 1, 3, 4, 2).to(torch.uint8).contiguous()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        latents = model.encode_levels(levels)
        shown = model.decode_levels(latents)
        assert model.encoder.patch_embedding.separable is not None
        assert model.decoder.head.separable is not None
        model.encoder.patch_embedding.separable = model.decoder.head.separable = None
        whole = model.encode_levels(levels)
        tolerance = 2e-3 if precision == "float32" else 0.1
        assert torch.allclose(latents.structure, whole.structure, atol=tolerance)
        apart = (shown.int() - model.decode_levels(latents).int()).abs()
    assert int(apart.max()) <= 1 + (precision == "bfloat16")
    assert float(apart.float().mean()) < (0.01 if precision == "float32" else 0.2)


def test_loading_does_not_wait_for_a_computer_algebra() -> None:
    """Some functions of torch import sympy, which takes most of a second on every start."""
    load = "load_checkpoint(resolve(None).path); open_checkpoint(resolve('compact').path).load()"
    imports = (
        "from vidtwin_codec.model import load_checkpoint, open_checkpoint; from vidtwin_codec.weights import resolve"
    )
    code = f"import sys\n{imports}\n{load}; sys.exit('sympy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
