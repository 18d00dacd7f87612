"""Those who train the same network on the same images: lenext, others, and the limit.

python -m benchmarks.contestants WHO NETWORK SIZE BATCH serves one of them (see harness). All train with SGD of momentum
0.9 and without augmentation; all but the documents' loop are given images that are normalised already, in memory. Each
peer comes as it is installed, and as an expert sets it up for this processor: bf16 autocast (where the processor has
bf16), channels last, compiled where that pays.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

import lenext
from benchmarks.harness import serve
from lenext.foundation.device import cpu_has_bf16

RATE, MOMENTUM, WARM = 0.01, 0.9, 3
Work = Callable[[int], float]


def load(network: str) -> Any:
    """The data of `NETWORK@DATA@OPTIONS`; else MNIST for LeNet, CIFAR-10 for the others; from $LENEXT_DATA."""
    data = f"{network}@@".split("@")[1]
    return lenext.load(data or ("mnist" if network == "lenet" else "cifar10"))


def build(network: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    name, data, options = f"{network}@@".split("@")[:3]
    grey = "mnist" in data or (not data and name == "lenet")
    return lenext.create(name, in_channels=1 if grey else 3, num_classes=10, **json.loads(options or "{}"))


def arrays(network: str, size: int, count: int) -> tuple[Tensor, Tensor]:
    """Normalised images (N, C, size, size) and their labels."""
    data = load(network)
    rows = torch.arange(count) % len(data.train)
    images = data.normalization(data.train.images[rows])
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear")
    return images, data.train.labels[rows]


def ours(network: str, size: int, batch: int, compiled: Literal["no", "yes"] = "no") -> Work:
    """lenext, as `fit` trains."""
    from lenext.training.loop import events
    from lenext.training.settings import resolve, split_by_recipe
    from lenext.training.state import Step, TrainingState

    recipe = lenext.Recipe(
        image_size=size, batch_size=batch, epochs=10_000, flip=False, learning_rate=RATE, schedule="constant",
        nesterov=False, weight_decay=0.0, validation_fraction=0.02, compile=compiled,
    )  # fmt: skip
    data = split_by_recipe(load(network), recipe)
    settings = resolve(recipe, data)
    going = events(TrainingState.begin(build(network, size), settings), data, settings)

    def work(steps: int) -> float:
        taken, done = 0.0, 0
        while done < steps:
            begun = time.perf_counter()
            event = next(going)
            if isinstance(event, Step) and event.phase == "train" and event.samples == batch:
                taken += time.perf_counter() - begun
                done += 1
        return taken / steps

    return work


class Images(Dataset[tuple[Tensor, int]]):
    """As document D4 reads CIFAR-10: an image at a time, resized, to a tensor, scaled to -1 to 1."""

    def __init__(self, network: str, size: int) -> None:
        from PIL import Image

        data = load(network)
        self.image, self.size = Image, size
        self.pixels = data.train.images.permute(0, 2, 3, 1).numpy()
        self.labels = data.train.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        pixels = self.pixels[row]
        image = self.image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        if image.width != self.size:
            image = image.resize((self.size, self.size), self.image.Resampling.BILINEAR)
        array = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        return (torch.from_numpy(array.copy()).float().div(255) - 0.5) / 0.5, self.labels[row]


def documents(network: str, size: int, batch: int) -> Work:
    """The loop of the documents: no worker processes, fp32, the loss and the accuracy read after every step."""
    model = build(network, size)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    loader = DataLoader(Images(network, size), batch_size=batch, shuffle=True, num_workers=0)

    def forever() -> Iterator[Any]:
        while True:
            yield from loader

    made = forever()

    def work(steps: int) -> float:
        model.train()
        begun = time.perf_counter()
        total = right = 0.0
        for _ in range(steps):
            images, labels = next(made)
            optimizer.zero_grad()
            output = model(images)
            loss = F.cross_entropy(output, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += (output.argmax(1) == labels).sum().item()
        return (time.perf_counter() - begun) / steps

    return work


def lightning(network: str, size: int, batch: int, *, expert: bool = False, compiled: bool = False) -> Work:
    """Lightning's Trainer."""
    import logging

    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = build(network, size)
            if expert:
                self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if compiled:
                self.network.compile()

        def training_step(self, some: Any, _: int) -> Tensor:
            images, labels = some
            loss = F.cross_entropy(self.network(images), labels)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=RATE, momentum=MOMENTUM, fused=expert or None)

    class Clock(L.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    module = Module()
    images, labels = arrays(network, size, 5_000)
    if expert:
        images = images.contiguous(memory_format=torch.channels_last)
    precision: Any = "bf16-mixed" if expert and cpu_has_bf16() else "32-true"

    def work(steps: int) -> float:
        rows = torch.arange((steps + WARM) * batch) % len(labels)
        pairs = TensorDataset(images[rows], labels[rows])
        loader = whole_batches(pairs, batch) if expert else DataLoader(pairs, batch_size=batch, shuffle=True)
        clock = Clock()
        L.Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[clock], precision=precision,
        ).fit(module, loader)  # fmt: skip
        return (clock.ends[-1] - clock.ends[WARM - 1]) / steps

    return work


def whole_batches(pairs: TensorDataset, batch: int) -> DataLoader[Any]:
    """A loader that takes each batch out of the tensors at once; images that are channels last stay so."""
    sampler = BatchSampler(RandomSampler(pairs), batch, drop_last=False)
    return DataLoader(pairs, sampler=sampler, batch_size=None)


class Autocast(nn.Module):
    """A network under bf16 autocast, channels last."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bf16()):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits.float()


def fastai(network: str, size: int, batch: int, *, expert: bool = False) -> Work:
    """fastai's Learner."""
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as Loader
    from fastai.learner import Learner

    class Clock(Callback):  # type: ignore[misc]
        def after_batch(self) -> None:
            self.ends.append(time.perf_counter())

    images, labels = arrays(network, size, 5_000)
    model = build(network, size)
    if expert:
        model = Autocast(model)

    def work(steps: int) -> float:
        rows = torch.arange((steps + WARM) * batch) % len(labels)
        pairs = TensorDataset(images[rows], labels[rows])
        loaders = DataLoaders(Loader(pairs, bs=batch, shuffle=True, num_workers=0), Loader(pairs, bs=batch))
        clock = Clock()
        clock.ends = []
        learner = Learner(
            loaders, model, loss_func=nn.CrossEntropyLoss(), lr=RATE, train_bn=True, cbs=[clock],
            opt_func=fastai_fused_sgd() if expert else fastai_sgd(),
        )  # fmt: skip
        learner._do_epoch_validate = lambda *_: None
        learner.fit(1)
        return (clock.ends[WARM + steps - 1] - clock.ends[WARM - 1]) / steps

    return work


def fastai_sgd() -> Any:
    from fastai.optimizer import SGD

    return partial(SGD, mom=MOMENTUM)


def fastai_fused_sgd() -> Any:
    from fastai.optimizer import OptimWrapper

    return partial(OptimWrapper, opt=torch.optim.SGD, momentum=MOMENTUM, fused=True)


def keras(network: str, size: int, batch: int) -> Work:
    """Keras on torch, which takes the same network as a layer, or on JAX, for which it is written out."""
    import keras

    images, labels = arrays(network, size, 5_000)
    if os.environ["KERAS_BACKEND"] == "torch":
        inside = keras.layers.TorchModuleWrapper(build(network, size), output_shape=(None, 10))
        model = keras.Sequential([inside])
        inputs = images.numpy()
    else:
        model = in_keras(network, keras, images.shape[1], size)
        inputs = images.permute(0, 2, 3, 1).numpy()
    model.compile(
        optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    def work(steps: int) -> float:
        rows = np.arange((steps + WARM) * batch) % len(labels)
        clock = Clock()
        model.fit(inputs[rows], labels.numpy()[rows], batch_size=batch, epochs=1, verbose=0, callbacks=[clock])
        return (clock.ends[-1] - clock.ends[WARM - 1]) / steps

    return work


def in_keras(network: str, keras: Any, channels: int, size: int) -> Any:
    """LeNet, and ResNet-18 for small images, in Keras' own layers."""
    layers = keras.layers
    given = keras.Input((size, size, channels))
    x = given
    if network == "lenet":
        x = layers.MaxPool2D()(layers.Conv2D(6, 5, padding="same", activation="relu")(x))
        x = layers.MaxPool2D()(layers.Conv2D(16, 5, activation="relu")(x))
        x = layers.Flatten()(x)
        x = layers.Dense(84, activation="relu")(layers.Dense(120, activation="relu")(x))
        return keras.Model(given, layers.Dense(10)(x))

    def conv(x: Any, width: int, kernel: int = 3, stride: int = 1) -> Any:
        x = layers.Conv2D(width, kernel, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    if network != "resnet18_32px":
        raise ValueError(f"{network} is not written out in Keras here")
    x = layers.ReLU()(conv(x, 64))
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            shortcut = conv(x, width, 1, stride) if stride == 2 else x
            x = layers.ReLU()(layers.Add()([conv(layers.ReLU()(conv(x, width, 3, stride)), width), shortcut]))
    return keras.Model(given, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def limit(how: str, network: str, size: int, batch: int) -> Work:
    """The bare step on one batch that is there already: LAYOUT-PRECISION[-compiled], nothing else."""
    layout, precision, *rest = how.split("-")
    model = build(network, size)
    images, labels = arrays(network, size, batch)
    if layout == "last":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    if precision == "bf16":
        model, images = model.bfloat16(), images.bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)

    def forward(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            logits = model(images)
        return F.cross_entropy(logits.float(), labels)

    step = torch.compile(forward) if rest else forward

    def work(steps: int) -> float:
        model.train()
        begun = time.perf_counter()
        for _ in range(steps):
            step(images, labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        return (time.perf_counter() - begun) / steps

    return work


def peak(network: str, size: int, batch: int) -> Work:
    """A product of two matrices of 2,048 x 2,048 in the processor's fastest precision: its measured peak."""
    one, other = torch.randn(2, PEAK_SIDE, PEAK_SIDE).to(torch.bfloat16 if cpu_has_bf16() else torch.float32)

    def work(steps: int) -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            one @ other
        return (time.perf_counter() - begun) / steps

    return work


PEAK_SIDE = 2_048
MAKERS: dict[str, Callable[[str, int, int], Work]] = {
    "lenext": ours, "lenext-compiled": partial(ours, compiled="yes"), "documents": documents, "lightning": lightning,
    "lightning-expert": partial(lightning, expert=True),
    "lightning-expert-compiled": partial(lightning, expert=True, compiled=True),
    "fastai": fastai, "fastai-expert": partial(fastai, expert=True), "keras-torch": keras, "keras-jax": keras,
    "peak": peak,
}  # fmt: skip

if __name__ == "__main__":
    who, network, size, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if who.startswith("keras"):
        os.environ["KERAS_BACKEND"] = who.removeprefix("keras-")
    if who in MAKERS:
        serve(MAKERS[who](network, size, batch))
    else:
        serve(limit(who, network, size, batch))
