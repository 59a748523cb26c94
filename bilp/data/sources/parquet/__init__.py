"""Parquet files with encoded images and labels, in the layouts in which the Hugging Face hub and its users keep them.

    DIRECTORY/train-00000-of-00003.parquet   DIRECTORY/data/test-*.parquet   DIRECTORY/train.parquet   DIRECTORY/train_0.parquet
    DIRECTORY/<configuration>/train-*.parquet   DIRECTORY/<configuration>/train/0000.parquet   DIRECTORY/part-*.parquet

Splits are known by their words in any case (`bilp.data.split_names`), in the file's name or a folder's. The test
images are test-*, else evaluation, else validation; files whose rows have no label are passed over; without test
images a test split is held out. Files without any such word, all of one name, are training images. Several
configurations, a missing or doubled shard, and two uploads side by side are refused. `ingest.train`, `ingest.test` (a
folder, a path or a pattern) and `ingest.config` choose otherwise.

Images are a column `image`, `img`, `pixel_values` or the only one that can hold them: a struct with a field `bytes`,
or plain binary, in any of Arrow's layouts (large, view, fixed size, dictionary). Labels are a column `label`,
`labels`, `fine_label`, `target`, `class` or the only one that says so: integers (floating-point integers too), text
or truth values, or dictionaries of them. `ingest.image_column` and `ingest.label_column` choose others.

Integers are classes by the names in the file's `huggingface` metadata, matched by name where files number them
differently; without names the numbers that occur, in order, are the classes. Texts and truth values are in the order
of texts. Names that no image has are left out. `ingest.classes` takes a subset, in its order. What was chosen or
passed over is in `Contents.notes`.
"""

from bilp.data.sources.parquet.source import HuggingFaceParquet

__all__ = ["HuggingFaceParquet"]
