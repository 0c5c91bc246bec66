"""Settings whose values are taken as they are typed: paths, and names out of the user's data."""

PATHS = (
    "ckpt", "model", "resume", "images", "root", "output", "output_dir", "report", "data.root", "data.file",
    "data.split_file", "data.cache_dir", "backbone.weights", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
NAMES = (
    "name", "class_name", "data.path_column", "data.label_columns", "data.split_column", "data.group_column",
    "data.name",
)  # fmt: skip
