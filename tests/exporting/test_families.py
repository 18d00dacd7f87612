"""Every family as an exported file: the probabilities of torch in ONNX Runtime and OpenVINO, batches of equal bits."""

import numpy as np
import pytest
import torch

from lenext.data.preprocessing import Preprocessing
from lenext.exporting.engines import open_onnxruntime, open_openvino
from lenext.exporting.onnx_file import export_pixels_to_probabilities
from lenext.foundation.normalization import Normalization
from lenext.models import MODELS, create, find_variant

SMALL_IMAGES = [name for name in MODELS if find_variant(name).kind == "small images"]
TAUGHT = ["lenet", "lenet5", "nin", "googlenet_paper", "resnet18_d2l", "densenet_d2l", "convnext_patch4_corrected"]
PUBLISHED = ["resnet18", "googlenet", "densenet121", "convnext_tiny", "resnext50_32x4d"]
SIZES = dict.fromkeys(PUBLISHED, 64) | {"nin": 96, "googlenet_paper": 64, "resnet18_d2l": 64, "densenet_d2l": 64}

pytestmark = pytest.mark.slow


def randomize_norms(network: torch.nn.Module) -> None:
    """Give batch norms the statistics of a training; new ones change nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.7, 1.4, generator=generator)


@pytest.mark.parametrize("name", [*SMALL_IMAGES, *TAUGHT, *PUBLISHED])
def test_a_family(name: str) -> None:
    torch.manual_seed(0)
    size = SIZES.get(name, find_variant(name).image_size)
    network = create(name, num_classes=10).eval()
    randomize_norms(network)
    channels = find_variant(name).parameters()["in_channels"].default
    normalization = Normalization((0.5,) * channels, (0.25,) * channels)
    prepare = Preprocessing(channels, (size, size), "crop", (size, size), "interpolate", normalization)
    model = export_pixels_to_probabilities(network, prepare).SerializeToString()
    pixels = torch.randint(0, 256, (64, channels, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(prepare(pixels)).softmax(1).numpy()
    onnxruntime = open_onnxruntime(model)
    whole, _ = onnxruntime(pixels.numpy())
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    for batch in (1, 2, 7):
        parts = [onnxruntime(pixels[start : start + batch].numpy())[0] for start in range(0, 14, batch)]
        # ONNX Runtime's mean over positions adds up in another order where it is the last layer
        np.testing.assert_allclose(
            np.concatenate(parts), whole[:14], atol=1e-7 if name.startswith("nin") else 0, rtol=0
        )
    np.testing.assert_allclose(open_openvino(model)(pixels.numpy())[0], expected, atol=1e-5)
