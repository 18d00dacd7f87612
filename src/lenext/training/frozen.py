"""A frozen backbone: where a network is divided, so that the layers that learn train on stored features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import draws_at_random, is_stateless
from lenext.data.batches import load_batch
from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import ConfigurationError
from lenext.models.pretrained import find_head
from lenext.training.losses import CrossEntropy, Loss, has_auxiliary
from lenext.training.recipe import Recipe
from lenext.training.settings import Settings

TRIED_IMAGES = 4
AUTO_VIEWS = 2  # of an augmented image, where the recipe has `auto`
MAX_DIFFERENCE = 0.02  # of features, relative to the largest: what rounding may change


class InseparableError(ConfigurationError):
    """The features of the frozen layers cannot be stored; the message is the reason, after `as`."""


@dataclass(frozen=True, eq=False)
class FrozenBackbone:
    """A network in two parts.

    Attributes:
        network: The whole.
        tail: Its last layers: those that learn, and those before them that draw at random.
    """

    network: nn.Module
    tail: nn.Module

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return what the tail is given for images (N, C, H, W): (N, D), or maps (N, D, h, w)."""
        entered: list[Tensor] = []
        hook = self.ends()[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].clone()))
        try:
            self.network(images)
        finally:
            hook.remove()
        if len(entered) != 1:
            raise InseparableError(f"the last layer is called {len(entered)} times")
        return entered[0]

    @torch.no_grad()
    def gives_logits(self, images: Tensor) -> bool:
        """Return whether what the network returns is the very output of the tail."""
        outputs: list[Tensor] = []
        hook = self.ends()[1].register_forward_hook(lambda _, inputs, output: outputs.append(output))
        try:
            logits = self.network(images)
        finally:
            hook.remove()
        return logits is outputs[-1]

    def ends(self) -> tuple[nn.Module, nn.Module]:
        """Return the first and the last module of the tail."""
        layers = list(self.tail) if isinstance(self.tail, nn.Sequential) else [self.tail]
        return layers[0], layers[-1]


def set_training_mode(network: nn.Module) -> None:
    """Set training mode, except for modules whose own parameters are frozen: a frozen norm keeps its statistics."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters(recurse=False))
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.training = False  # not eval(), which would reach modules inside it that learn


def resolve_views(
    network: nn.Module, data: Dataset, recipe: Recipe, settings: Settings, loss: Loss | None = None
) -> tuple[Settings, str]:
    """Decide how many views of each image have their features stored.

    Args:
        network: What is trained; it is moved to its device where it can be divided.
        data: A dataset that is split.
        recipe: As the user wrote it.
        settings: The recipe, resolved.
        loss: What is minimized; None for that of the settings.

    Returns:
        The settings with the number of views, 0 where every step computes all layers; and what is done, in words,
        empty where no layer is frozen.

    Raises:
        ConfigurationError: The recipe asks for views that have no effect.
    """
    asked_views = recipe.feature_views
    is_frozen = not all(parameter.requires_grad for parameter in network.parameters())
    views = (AUTO_VIEWS if settings.augmentation else 1) if asked_views == "auto" else asked_views
    stored = replace(settings, sampling=replace(settings.sampling, feature_views=views))
    try:
        separate(network, data.train, stored, loss)
    except InseparableError as error:
        if asked_views not in ("auto", 0):
            raise ConfigurationError(f"feature_views={asked_views}: no features are stored, as {error}") from error
        return settings, f"they are computed in every step, as {error}" if is_frozen else ""
    if views > 1 and not settings.augmentation:
        raise ConfigurationError(f"feature_views={views}: without augmentation all views are alike; give 1")
    if views % 2 and settings.sampling.alternating_flips and settings.augmentation.flip:
        raise ConfigurationError(f"feature_views={views}: flip=alternating needs an even number of views")
    return stored, f"the features of each image are computed once ({views} view{'s' if views > 1 else ''})"


def separate(network: nn.Module, split: Split, settings: Settings, loss: Loss | None = None) -> FrozenBackbone:
    """Divide a network where its frozen layers end.

    Whether it can be divided depends on its layers and the settings, not on its weights.

    Args:
        network: What is trained; it is moved to its device.
        split: The training samples; the parts are tried with the first ones.
        settings: How it is trained.
        loss: What is minimized; None for that of the settings.

    Raises:
        InseparableError: The features of an image are not the same in every step, or are not all that the tail needs.
    """
    check_settings(network, settings, loss)
    try:
        head = find_head(network)
    except ConfigurationError as error:
        raise InseparableError("there is no last dense layer") from error
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    if outside := [name for name in learning if not is_in(name, head)]:
        raise InseparableError(f"{outside[0].rpartition('.')[0] or outside[0]} learns, too")
    compute, tried = settings.machine.compute, slice(0, min(TRIED_IMAGES, len(split)))
    network.to(compute.device)
    images = load_batch(split, settings.images, compute, tried).images
    modes = [module.training for module in network.modules()]
    buffers = [buffer.clone() for buffer in network.buffers()]
    devices = [images.device] if images.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            set_training_mode(network)
            backbone = divide(network, head)
            try_parts(backbone, images, buffers)
    finally:
        for module, mode in zip(network.modules(), modes, strict=True):
            module.training = mode
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(before)
    return backbone


def check_settings(network: nn.Module, settings: Settings, loss: Loss | None) -> None:
    """Refuse settings by which a step needs more than the features. Raises InseparableError."""
    if all(parameter.requires_grad for parameter in network.parameters()):
        raise InseparableError("no layer is frozen")
    length, machine = settings.schedule.length, settings.machine
    mixes = settings.loss.mixup > 0 or settings.loss.cutmix > 0 if loss is None else type(loss) is not CrossEntropy
    reasons = {
        "feature_views is 0": settings.sampling.feature_views == 0,
        "mixup, cutmix or an own loss sees the images": mixes,
        "the auxiliary classifiers see earlier layers": has_auxiliary(network),
        "hardest_fraction chooses samples in every epoch": settings.sampling.hardest,
        "progressive_resizing changes the images": settings.schedule.first_image_size < 1,
        "freeze_stem_after changes what learns": settings.schedule.stem_epochs is not None,
        "ema_decay averages all layers": settings.optimizer.ema_decay > 0,
        "steps ends training within the first epoch": length.updates < length.updates_per_epoch,
        "the step is compiled": machine.compile != "no",
        "the parts of a batch need the whole network": machine.parts > 1,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InseparableError(reason)


def divide(network: nn.Module, head: str) -> FrozenBackbone:
    """Divide a network in training mode before its head, or before a dropout in front of it."""
    last = network.get_submodule(head)
    parent = network.get_submodule(head.rpartition(".")[0])
    tail = last
    if isinstance(parent, nn.Sequential):
        layers = list(parent)
        first = next(at for at, layer in enumerate(layers) if layer is last or is_random(layer))
        tail = nn.Sequential(*layers[first:])
    inside = set(tail.modules())
    for name, module in network.named_modules():
        described = f"{name or 'the network'} ({type(module).__name__})"
        if not is_stateless(module):
            raise InseparableError(f"{described} may keep or draw something")
        if module in inside and isinstance(module, nn.Conv2d) and module is not last:
            raise InseparableError(f"a dropout comes before {name}, which is frozen")
        if module not in inside and is_random(module):
            raise InseparableError(f"{described} draws at random in every step")
        if module not in inside and module.training and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            raise InseparableError(f"{described} normalizes by the batch")
    return FrozenBackbone(network, tail)


def is_random(module: nn.Module) -> bool:
    """Return whether a module, in its present mode, draws random numbers."""
    return module.training and draws_at_random(module)


def is_in(parameter: str, module: str) -> bool:
    """Return whether a parameter belongs to a module, both by name."""
    return parameter.startswith(f"{module}.")


def try_parts(backbone: FrozenBackbone, images: Tensor, buffers: Sequence[Tensor]) -> None:
    """Check, in training and then in evaluation mode, that the tail makes the logits and that features repeat.

    Args:
        backbone: In training mode.
        images: At least three (N, C, H, W), for features that are compared with those of fewer images.
        buffers: The network's, before anything was computed.

    Raises:
        InseparableError: They do not, or the network cannot compute them.
    """
    for mode in ("training", "evaluation"):
        if mode == "evaluation":
            backbone.network.eval()
        try:
            gives_logits, features, fewer = (
                backbone.gives_logits(images), backbone.features(images), backbone.features(images[:2])
            )  # fmt: skip
        except InseparableError:
            raise
        except Exception as error:  # training itself will say what is wrong
            raise InseparableError(f"a trial in {mode} mode fails ({type(error).__name__})") from error
        if not gives_logits:
            raise InseparableError("more than the last layers makes the logits")
        if features[0].numel() > images[0].numel():
            raise InseparableError("the features are larger than the image")
        if not is_close(fewer, features[:2]):
            raise InseparableError("the features of an image depend on its batch")
    if not all(map(torch.equal, backbone.network.buffers(), buffers)):
        raise InseparableError("a buffer changes in every step")


def is_close(features: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors are equal up to rounding; what overflows with weights that are not loaded yet, too."""
    features, expected = (values.float().nan_to_num(0, 0, 0) for values in (features, expected))
    scale = max(float(expected.abs().max()), 1e-6)
    return float((features - expected).abs().max()) <= MAX_DIFFERENCE * scale
