"""Compare the rules for suspect labels with cleanlab on the same out-of-fold probabilities."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_predict

from lenext.data.dataset import Dataset, Split
from lenext.workflows import suspects
from lenext.workflows.audit import audit
from lenext.workflows.suspects import RULES, confident_learning

Swapped = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]


@pytest.fixture(scope="module", params=[0, 1])
def swapped(request: pytest.FixtureRequest) -> Swapped:
    """Probabilities of scikit-learn's digits, labels of which 5 % are swapped, and which ones are."""
    pixels, labels = load_digits(return_X_y=True)
    draw = np.random.default_rng(request.param)
    wrong = np.zeros(len(labels), dtype=np.bool_)
    wrong[draw.choice(len(labels), len(labels) // 20, replace=False)] = True
    labels = np.where(wrong, (labels + draw.integers(1, 10, len(labels))) % 10, labels)
    model = ExtraTreesClassifier(100, random_state=0)
    probabilities = cross_val_predict(model, pixels, labels, cv=3, method="predict_proba")
    probabilities = 0.99 * probabilities + 0.01 * draw.dirichlet(np.ones(10), len(labels))  # a forest's have ties
    return probabilities.astype(np.float32), labels, wrong


def precision_recall(suspect: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> tuple[float, float]:
    hits = int((suspect & wrong).sum())
    return hits / int(suspect.sum()), hits / int(wrong.sum())


def test_the_precise_rule_is_cleanlabs_confident_learning(swapped: Swapped) -> None:
    """Cleanlab's count of wrong labels, and its order by self-confidence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that it imports
        from cleanlab.filter import find_label_issues
    probabilities, labels, _ = swapped
    theirs = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    assert (confident_learning(probabilities, labels) == theirs).all()


def test_the_precise_rule_is_precise_and_the_sensitive_one_sensitive(swapped: Swapped) -> None:
    probabilities, labels, wrong = swapped
    precise, sensitive = (precision_recall(RULES[name](probabilities, labels), wrong) for name in RULES)
    assert precise[0] >= 0.97
    assert precise[0] > sensitive[0] >= 0.8
    assert sensitive[1] >= 0.9
    assert sensitive[1] > precise[1] + 0.2


@pytest.mark.parametrize("rule", RULES)
def test_right_labels_and_empty_classes(rule: str) -> None:
    """Probabilities that agree with every label leave none suspect; a class without images is no obstacle."""
    labels = np.array([0, 1] * 10)
    probabilities = np.full((20, 3), 0.05, dtype=np.float32)
    probabilities[np.arange(20), labels] = 0.9
    assert not RULES[rule](probabilities, labels).any()  # type: ignore[index]


def test_the_audit_follows_the_rule(swapped: Swapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`suspect` chooses the rule; sensitive is the default."""
    probabilities, labels, _ = swapped
    images = torch.randint(0, 256, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(images, torch.from_numpy(labels), np.arange(len(labels)))
    data = Dataset("swapped", tuple("0123456789"), split)
    monkeypatch.setattr(suspects, "out_of_fold_probabilities", lambda *_: probabilities)
    suspects_by_rule = {
        name: {int(finding.sample) for finding in audit(data, out=tmp_path, suspect=name).of("suspect label")}
        for name in ("precise", "sensitive", None)
    }
    for name, rule in RULES.items():
        assert suspects_by_rule[name] == set(np.flatnonzero(rule(probabilities, labels)).tolist())
    assert suspects_by_rule[None] == suspects_by_rule["sensitive"]
