"""Properties of every registered network."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import torch
from torch import nn

from lenext.foundation.errors import ConfigurationError
from lenext.inspection.doctor import UnfitError, check_network, smallest_size
from lenext.models import FAMILIES, MODELS, create, find_variant
from lenext.models.initialization import initialize
from lenext.models.user_network import create_user_network
from lenext.training.losses import CrossEntropy
from tests.models.contract import FILE, SIZES, identity, stages

SMALL = [name for name in MODELS if find_variant(name).image_size <= 64]
BOTH = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in SIZES)]
LARGEST = ("vgg11", "vgg11_bn")  # 133 million parameters; the optimizer alone takes a minute
TRAINED = [
    *SMALL,
    *(pytest.param(name, marks=pytest.mark.endurance if name in LARGEST else pytest.mark.slow) for name in SIZES),
]
REST = [name for name in MODELS if name not in SMALL and name not in SIZES]


def test_the_registry_and_the_files_agree() -> None:
    for family, variants in FAMILIES.items():
        assert import_module(f"lenext.models.{family}").VARIANTS is variants
    assert len(MODELS) == sum(map(len, FAMILIES.values()))  # no name is used twice


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 7), (3, 10)])
def test_logits_of_any_channels_and_classes(name: str, channels: int, classes: int) -> None:
    size = find_variant(name).image_size
    with torch.device("meta"):
        network = create(name, in_channels=channels, num_classes=classes)
        logits = network(torch.empty(2, channels, size, size))
    assert logits.shape == (2, classes)
    assert find_variant(name).source


RECORDED = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_and_names_stay(name: str) -> None:
    assert RECORDED[name]["1 channel, 7 classes"] == identity(name, 1, 7)
    assert RECORDED[name]["3 channels, 10 classes"] == identity(name, 3, 10)


@pytest.mark.parametrize("name", BOTH)
def test_stage_shapes_stay(name: str) -> None:
    assert RECORDED[name]["stages"] == stages(name)


def build_with_images(name: str, **options: object) -> tuple[nn.Module, torch.Tensor]:
    """Return a network from a fixed seed, and four images for it."""
    torch.manual_seed(0)
    size = SIZES.get(name, find_variant(name).image_size)
    data_options = {"image_size": size} if "image_size" in find_variant(name).parameters() else {}
    network = create(name, in_channels=3, num_classes=5, **data_options, **options)
    return network, torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", BOTH)
def test_same_seed_same_weights(name: str) -> None:
    first, second = build_with_images(name)[0].state_dict(), build_with_images(name)[0].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_gets_a_finite_gradient_and_a_batch_is_overfitted(name: str) -> None:
    """Four images of noise, each of another contrast; without dropout; networks without norms drawn as the documents
    draw them. NiN's last block is as narrow as there are classes, so that ReLUs can silence a class for good: GELU
    stands in for them, and as it is slow to begin, a loss of 1.0 is enough (ln 5 is 1.6)."""
    takes = find_variant(name).parameters()
    options = {"dropout": 0.0} if "dropout" in takes else {}
    network, images = build_with_images(name, **options, **({"activation": "gelu"} if name == "nin" else {}))
    if name in SIZES and not any("Norm" in type(module).__name__ for module in network.modules()):
        initialize(network, "xavier")
    labels = torch.tensor([0, 1, 2, 3])
    images = images * torch.tensor([0.25, 0.5, 1.0, 2.0]).view(4, 1, 1, 1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3 if name in SMALL else 3e-4)
    for step in range(200):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None, key
            assert bool(parameter.grad.isfinite().all()), key
            assert step > 0 or bool(parameter.grad.any()), key
        optimizer.step()
        if float(loss.detach()) < (1.0 if name == "nin" else 0.1):
            return
    pytest.fail(f"the loss is still {float(loss.detach()):.3f}")


@pytest.mark.parametrize("name", BOTH)
def test_the_logits_of_an_image_do_not_depend_on_its_neighbours(name: str) -> None:
    network, images = build_with_images(name)
    network.eval()
    with torch.no_grad():
        independent = torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5, rtol=1e-3)
    assert independent != (name == "convnext_patch4")  # whose norm runs over the batch, as D3 teaches it


@pytest.mark.parametrize("name", BOTH)
def test_channels_last_and_bf16(name: str) -> None:
    network, images = build_with_images(name)
    network.eval()
    with torch.no_grad():
        plain = network(images)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        laid_out = network(images.to(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            short = network(images)
    assert torch.allclose(plain, laid_out, atol=1e-4, rtol=1e-3)
    assert bool(short.isfinite().all())


def test_names_and_options_that_do_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'resnet18'"):
        create("resnet19")
    with pytest.raises(ConfigurationError, match="no option 'classes'"):
        create("lenet", classes=3)
    with pytest.raises(ConfigurationError, match="did you mean 'tanh'"):
        create("lenet", activation="tahn")


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 3)

    def forward(self, x):
        return self.layer(x).mean((2, 3))

class Broken(nn.Module):
    def __init__(self):
        raise ValueError("not today")
"""


def test_a_user_defined_network(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(OWN)
    network = create_user_network(f"{path}:Net", {}, {"in_channels": 3, "num_classes": 4, "image_size": 8})
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    for wrong, reason in [(":Nett", "did you mean 'Net'"), ("", "which class"), (":Broken", "not today")]:
        with pytest.raises(ConfigurationError, match=reason):
            create_user_network(f"{path}{wrong}", {})
    with pytest.raises(ConfigurationError, match="no such file"):
        create_user_network("missing.py:Net", {})
    path.write_text("import nothing_of_this_name")
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        create_user_network(f"{path}:Net", {})


@pytest.mark.parametrize("name", BOTH)
def test_export_and_saving_keep_the_logits(name: str, tmp_path: Path) -> None:
    network, images = build_with_images(name)
    network.eval()
    with torch.no_grad():
        answers = network(images)
        exported = torch.export.export(network, (images,)).module()(images)
        torch.save(network.state_dict(), tmp_path / "w.pt")
        again, _ = build_with_images(name)
        again.eval()
        nn.init.zeros_(next(again.parameters()))
        again.load_state_dict(torch.load(tmp_path / "w.pt"))
        assert torch.allclose(exported, answers, atol=1e-5, rtol=1e-3)
        assert torch.equal(again(images), answers)


def choices(name: str) -> list[dict[str, object]]:
    """Return options of a variant, each changed alone, to all its other choices."""
    changes: list[dict[str, object]] = []
    for key, parameter in find_variant(name).parameters().items():
        kind = parameter.annotation
        if get_origin(kind) is Literal:
            changes += [{key: choice} for choice in get_args(kind) if choice != parameter.default]
        elif kind is bool:
            changes.append({key: not parameter.default})
        elif key == "width":
            changes.append({key: 0.5})
        elif key == "dropout":
            changes.append({key: 0.3})
        elif key == "depths":
            changes.append({key: [max(1, depth - 1) for depth in parameter.default]})
        elif key == "kernel_size":
            changes.append({key: 3})
        elif key == "patch":
            changes.append({key: parameter.default // 2})
    return changes


@pytest.mark.parametrize("name", SMALL)
def test_every_option_gives_a_network_that_learns(name: str) -> None:
    size = find_variant(name).image_size
    images, labels = torch.randn(4, 3, size, size), torch.tensor([0, 1, 2, 3])
    for options in choices(name):
        torch.manual_seed(0)
        network = create(name, in_channels=3, num_classes=5, **options)
        value, _ = CrossEntropy()(network, images, labels)
        value.backward()  # type: ignore[no-untyped-call]
        assert bool(value.detach().isfinite()), options
        assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in network.parameters()), options


@pytest.mark.parametrize(
    "name", ["alexnet_32px", "nin_32px", "vgg11_32px", "googlenet_32px", "lenet_32px", "convnext_32px"]
)
def test_the_least_size_is_the_least(name: str) -> None:
    def build(size: int) -> nn.Module:
        follows = {"image_size": size} if "image_size" in find_variant(name).parameters() else {}
        return create(name, **follows)

    least = smallest_size(build, 3, 10, above=0)
    assert least is not None
    assert least <= 28
    check_network(build(least), (3, least, least), 10)
    if least > 1:
        with pytest.raises(UnfitError):
            check_network(build(least - 1), (3, least - 1, least - 1), 10)


STEP = """
import sys, torch
from torch import nn
from lenext.models import create
torch.manual_seed(0)
network = create(sys.argv[1], in_channels=3, num_classes=5)
images, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
nn.functional.cross_entropy(network(images), labels).backward()
assert all(bool(one.grad.isfinite().all()) for one in network.parameters())
network.eval()
with torch.no_grad():
    answers = network(images)
    assert answers.shape == (2, 5)
    # one step at random weights leaves statistics that let the logits grow to a million: the tolerance follows them
    tolerance = 1e-5 * max(1.0, float(answers.abs().max()))
    assert torch.allclose(answers, network(images.to(memory_format=torch.channels_last)), rtol=0, atol=tolerance)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("name", [name for name in REST if "image_size" not in find_variant(name).parameters()])
def test_the_rest_trains_within_four_gigabytes(name: str) -> None:
    command = [sys.executable, "-c", STEP, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4 * 1024**2  # kB
