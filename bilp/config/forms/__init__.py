"""Forms in which people start runs: few inputs, everything else folded, and a translation into the settings of a pipeline."""

from bilp.config.forms.start import DataSetForm, DigitsForm, OwnImagesForm, PublishedForm, SweepForm

__all__ = ["DataSetForm", "DigitsForm", "OwnImagesForm", "PublishedForm", "SweepForm"]
