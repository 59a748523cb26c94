"""Rule low_component: what a mixture of two components takes for the one of well labeled samples, whatever the scores look like.

This is how distillation from noisy labels cleans its data (RDC, Kim & Song 2025: one mixture of the logarithm of the losses that were
added up since the warm-up; per class in TAD, Li et al. 2025). It halves clean data, too; `bilp.pruning.auto` asks first whether there are
two populations.
"""

from __future__ import annotations

import numpy as np

from bilp.config.criteria import CRITERIA
from bilp.errors import ConfigError
from bilp.pruning import mixture
from bilp.pruning.choice import Choice, Chosen, Found
from bilp.pruning.static import Floats
from bilp.registry import resolve


def choose(choice: Choice) -> Chosen:
    """Keep the samples that the low component is the more probable one of, by one mixture of all samples or by one of each class.

    The easiest minimum_per_class of each class stay in any case. Raises ConfigError for a criterion whose scores are no mixture.
    """
    samples, config = choice.samples, choice.config
    mixed = CRITERIA[config.criterion].mixed
    if mixed is None:
        raise ConfigError(f"rule {config.rule} fits a mixture to the scores, which criterion {config.criterion} does not allow")
    high = config.drop == "high"
    values: Floats = (1.0 if high else -1.0) * np.asarray(resolve(mixed.normal)(samples.scores), dtype=np.float64)
    order, sizes = samples.together(config.per_class)
    fitted = mixture.fit(values[order], sizes)
    well = np.empty(len(values), dtype=np.bool_)
    well[order] = fitted.probably_low(values[order], sizes)
    rank = samples.rank_in_class
    from_easiest = rank if high else samples.total[samples.labels] - 1 - rank
    separation = float(mixture.fit(values, np.array([len(values)])).separation()[0]) if config.per_class else float(fitted.separation()[0])
    own = fitted if config.per_class else fitted.repeated(len(samples.total))
    found = Found(True, separation, own.weights, own.means, own.stds, own.thresholds())
    return Chosen(well | (from_easiest < config.minimum_per_class), found)
