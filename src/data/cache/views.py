"""How many augmented views of each image are kept where data.cache_views says nothing, and what the log says of it."""

from collections.abc import Callable

# A head alone on the ants and bees, 25 epochs of SGD, 60 seeds, val/acc against fresh views in every epoch, paired: one
# view -1.8 points, two -1.1, four -0.7, eight -0.3, twelve -0.2, each +- 0.2 (docs/performance.md).
ENOUGH_VIEWS = 12
MOST_GB = 2.0  # for what nobody asked for; data.cache_gb may be less


def views_worth_keeping(
    epochs: int, processes: int, images: int, bytes_of_one: Callable[[], int], most_gb: float | None, mixed: bool
) -> tuple[int, str]:
    """How many of each of the training `images`, 0 = none: the frozen network sees them anew in every epoch; and what
    the log says of it, if there is something to say.

    Both follow from the settings, the data and the network alone, so that a resumed run has the same views.

    Args:
        epochs: of the phase, as planned.
        processes: that train together. Fresh views they share among them; those that are kept one makes for all.
        bytes_of_one: asked for the size of what is kept of one view, if it matters.
        most_gb: data.cache_gb.
        mixed: images are mixed with each other, which what is kept of them cannot be.
    """
    each_epoch = f"The frozen network sees augmented images anew in each of the {epochs} epochs"
    if mixed or processes > 1 or epochs <= ENOUGH_VIEWS:
        return 0, f"{each_epoch}; with augment=none it sees each image once." if epochs > 1 else ""
    gb, most_gb = ENOUGH_VIEWS * images * bytes_of_one() / 1e9, min(MOST_GB, MOST_GB if most_gb is None else most_gb)
    if gb > most_gb:
        return 0, (
            f"{each_epoch}: {ENOUGH_VIEWS} views of {images:,} images would take {gb:.1f} GB, more than the "
            f"{most_gb:g} GB that are kept unasked. data.cache_views={ENOUGH_VIEWS} keeps them all the same, "
            "augment=none one view of each."
        )
    return ENOUGH_VIEWS, (
        f"Keeps what the frozen network makes of {ENOUGH_VIEWS} augmented views of each training image "
        f"({1000 * gb:.3g} MB), taken in turn over {epochs} epochs. data.cache=none gives fresh ones in every epoch."
    )
