"""The options of one request: those of `lenext predict`, in its address, and a deadline, in a header."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.datastructures import QueryParams

from lenext.data.adjustment import Adjustment, Invert, PredictFit
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import convert
from lenext.serving.settings import MAX_DEADLINE_SECONDS
from lenext.workflows.predict import make_adjustment

DEADLINE = "x-request-timeout"
NAMES = ("model", "top", "invert", "fit", "digit", "explain")
MAX_TOP = 1_000_000
MAX_VALUE_CHARACTERS = 100


@dataclass(frozen=True)
class PredictOptions:
    """The options of a prediction.

    Attributes:
        top: Number of classes in an answer.
        invert: Whether dark and bright are exchanged.
        fit: How an image of another shape is resized.
        digit: Whether the images are drawn digits.
        explain: Whether Grad-CAM is added.
    """

    top: int = 1
    invert: Invert = "no"
    fit: PredictFit = "auto"
    digit: bool = False
    explain: bool = False

    def adjustment(self, prepare: Preprocessing) -> Adjustment | None:
        """Return how an image is changed before it is resized."""
        return make_adjustment(prepare, self.invert, self.digit, self.fit)

    def preprocessing(self, prepare: Preprocessing) -> Preprocessing:
        """Return the preprocessing with the fit that is asked for."""
        return replace(prepare, stored_fit=self.fit) if self.fit in ("crop", "pad") else prepare


DEFAULTS = PredictOptions()


def read_options(query: QueryParams) -> tuple[str, PredictOptions]:
    """Return the model that an address names, empty for the first one, and the options.

    Raises:
        ConfigurationError: An option is unknown, given twice, or has a wrong value.
    """
    if not query:
        return "", DEFAULTS
    values: dict[str, str] = {}
    for name, value in query.multi_items():
        if name not in NAMES:
            raise ConfigurationError(unknown_name("option", name[:MAX_VALUE_CHARACTERS], NAMES))
        if name in values:
            raise ConfigurationError(f"{name}: it is given twice")
        values[name] = value[:MAX_VALUE_CHARACTERS]
    if "explain" in values and values["explain"] != "gradcam":
        raise ConfigurationError(f"explain={values['explain']}: the only way is gradcam")
    options = PredictOptions(
        top=read_top(values),
        invert=convert("invert", values.get("invert", "no"), Invert),
        fit=convert("fit", values.get("fit", "auto"), PredictFit),
        digit=convert("digit", {"1": "yes", "0": "no"}.get(values.get("digit", "no"), values.get("digit", "no")), bool),
        explain="explain" in values,
    )
    if options.digit and (options.invert != "no" or options.fit != "auto"):
        raise ConfigurationError("digit: it sets the polarity and the fit; leave invert and fit out")
    return values.get("model", ""), options


def read_top(values: Mapping[str, str]) -> int:
    """Return the number of classes to answer with."""
    text = values.get("top", "1")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_TOP):
        raise ConfigurationError(f"top={text}: a whole number of at least 1 is needed")
    return int(text)


def read_deadline(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in which a client wants its answer; None where it waits. Raises ConfigurationError."""
    text = headers.get(DEADLINE)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_DEADLINE_SECONDS:
        raise ConfigurationError(
            f"{DEADLINE}: {text[:MAX_VALUE_CHARACTERS]}: seconds are needed, at most {MAX_DEADLINE_SECONDS:.0f}"
        )
    return seconds
