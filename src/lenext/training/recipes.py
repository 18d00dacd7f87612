"""Recipes by name: those of the networks, and those of the course documents. Each sets some keys.

An option wins over `--recipe`, which wins over the network's own recipe, which wins over the default of a key.
"""

from typing import Any

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import expand_path
from lenext.training.experiment import read_experiment

LENET: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 3e-3, "batch_size": 64, "epochs": 30, "label_smoothing": 0.1, "shift": 1,
}  # fmt: skip

# Chosen by validation on 8,000 images of CIFAR-10 (8 epochs) and on 200 photographs of five flowers (20 epochs): what
# else was tried is in docs/recipes.md.
SMALL: dict[str, Any] = {"optimizer": "muon", "learning_rate": 2e-3, "shift": 4}  # with batch norm, 28 to 64 px
PHOTOGRAPHS: dict[str, Any] = {"batch_size": 32, "epochs": 20, "random_crop": 0.35}
WITH_NORM = PHOTOGRAPHS | {
    "optimizer": "muon", "learning_rate": 1e-3, "label_smoothing": 0.1, "color_jitter": 0.3,
}  # fmt: skip
LARGE_DENSE = PHOTOGRAPHS | {"optimizer": "adamw", "learning_rate": 3e-4, "gradient_clip": 1.0}
WITHOUT_NORM = LARGE_DENSE | {"initialization": "kaiming"}
TRANSFORMER_LIKE: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "gradient_clip": 1.0,
}

OF_NETWORKS: dict[str, dict[str, Any]] = {
    "lenet": LENET,
    "lenet5": LENET,
    "lenet5_skip": LENET,
    **dict.fromkeys(
        (
            "lenet_32px", "alexnet_32px", "vgg11_32px", "nin_32px", "googlenet_32px", "resnet18_32px", "densenet_32px",
        ),
        SMALL,
    ),
    "densenet_32px": SMALL | {"learning_rate": 5e-3},
    **dict.fromkeys(
        (
            "googlenet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet18_d2l",
            "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
            "densenet121", "densenet161", "densenet169", "densenet201", "densenet_d2l",
        ),
        WITH_NORM,
    ),
    **dict.fromkeys(
        (
            "alexnet", "alexnet_d2l", "alexnet_d2l_wide", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_quarter",
            "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
        ),
        LARGE_DENSE,
    ),
    **dict.fromkeys(("nin", "googlenet_paper"), WITHOUT_NORM),
    "convnext_patch4": TRANSFORMER_LIKE | {"shift": 4},
    "convnext_patch4_corrected": TRANSFORMER_LIKE | {"shift": 4},
    "convnext_32px": SMALL | {"learning_rate": 8e-3, "gradient_clip": 1.0},
    **dict.fromkeys(
        ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"), PHOTOGRAPHS | TRANSFORMER_LIKE
    ),
}  # fmt: skip

AS_TAUGHT: dict[str, Any] = {
    "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "flip": False, "shift": 0, "random_crop": 1.0,
    "color_jitter": 0.0, "label_smoothing": 0.0, "gradient_clip": 0.0,
}  # fmt: skip
"""The documents use none of these, unlike the networks' own recipes."""

RECIPES: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 3},
    "adamw": {
        "optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup_epochs": 1.0,
    },
    # Chosen by validation on 5,000 images of CIFAR-10, except the number of epochs: docs/speedrun.md.
    "speedrun": {
        "optimizer": "muon", "learning_rate": 0.015, "keep_weight_norms": True, "newton_schulz_steps": 3,
        "momentum": 0.6,
        "weight_decay": 0.05, "schedule": "linear", "epochs": 14, "batch_size": 500, "parts": 4,
        "label_smoothing": 0.2, "freeze_stem_after": 0.4,
        "flip": "alternating", "shift": 2, "shift_padding": "reflect", "hardest_fraction": 0.75,
        "progressive_resizing": 0.6,
        "validation_fraction": 0.0, "tta": "flip_and_shift",
    },
    # As the documents train: D0's linked helper reads raw pixels in file order and never validates apart.
    "d0": AS_TAUGHT | {
        "optimizer": "sgd", "learning_rate": 1e-3, "epochs": 45, "batch_size": 64, "scaling": "raw", "shuffle": False,
        "initialization": "default", "validation_fraction": 0.0,
    },
    "d1": AS_TAUGHT | {
        "optimizer": "sgd", "learning_rate": 0.01, "epochs": 10, "batch_size": 256, "scaling": "unit",
        "initialization": "xavier", "image_size": 224,
    },
    "d3": AS_TAUGHT | {
        "optimizer": "adamw", "learning_rate": 1e-3, "momentum": 0.9, "weight_decay": 0.01,
        "decay_norms_and_biases": True, "epochs": 5, "batch_size": 128, "scaling": "unit",
        "initialization": "default", "validation_fraction": 0.2, "split": "random", "split_seed": 55,
        "evaluate_training": True,
    },
    "d4": AS_TAUGHT | {
        "optimizer": "sgd", "learning_rate": 0.1, "epochs": 10, "batch_size": 128, "scaling": "symmetric",
        "initialization": "xavier", "image_size": 224,
    },
}  # fmt: skip

NETWORKS = {"speedrun": "airbench94"}
"""The network of a recipe, when none is named."""

ABOUT = {
    "quick": "three epochs, to see whether everything works",
    "speedrun": "CIFAR-10 to 94 % as fast as possible, with airbench94; no validation, last weights",
    "adamw": "AdamW with warmup and a cosine schedule, for networks that plain SGD does not suit",
    "d0": "as document D0 trains: raw pixels, file order, SGD 0.001, 45 epochs",
    "d1": "as document D1 trains: Xavier, SGD 0.01, batches of 256 at 224 px",
    "d3": "as document D3 trains: AdamW 0.001 for 5 epochs, an unstratified fifth for validation",
    "d4": "as document D4 trains: Xavier, SGD 0.1 without momentum, 10 epochs at 224 px",
}


def load_recipe(name: str) -> dict[str, Any]:
    """Return what a recipe sets: `{"recipe": {...}}`, and for a YAML file also the network and data that it names."""
    if name in RECIPES:
        return {"recipe": RECIPES[name]} | ({"network": NETWORKS[name]} if name in NETWORKS else {})
    path = expand_path(name)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        path = path / "recipe.yaml"
    if path.is_file():
        return read_experiment(path)
    if path.suffix in (".yaml", ".yml"):
        raise ConfigurationError(f"{name}: no such recipe file")
    raise ConfigurationError(unknown_name("recipe", name, RECIPES, "A YAML file works too"))
