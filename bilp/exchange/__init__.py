"""Exchange of synthetic sets with the rest of the field: what reference projects publish comes in, common formats go out."""

from bilp.config.exports import FORMATS
from bilp.config.import_options import ImportOptions
from bilp.exchange.export import export_set, reading_line
from bilp.exchange.import_set import import_set
from bilp.exchange.loaded import DistilledSet, load_distilled

__all__ = ["FORMATS", "DistilledSet", "ImportOptions", "export_set", "import_set", "load_distilled", "reading_line"]
