"""What is wrong with annotations or masks: found when they are read, told with file and object. Imports no torch.

Shapes: F findings.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from src.data.table import string_column
from src.settings.plurals import agreeing

NO_NUMBER = -1  # of a finding about a whole image
SHOWN = 3  # of each kind, in a note
SHOWN_IN_ERROR = 10
Facts = dict[str, tuple[str, str, str]]

# What can be found: (severity, what the log says of one or several, what becomes of it), the most serious first. Errors
# stop with data.on_error=fail. What is not_read is told by the reader of the format, who also stops.
BOX_KINDS: Facts = {
    "not_read": ("error", "[place|places] in annotation files cannot be understood", "left out"),
    "image_missing": ("error", "[image|images] named by annotations [is|are] not there", "left out"),
    "no_class": ("error", "[box has|boxes have] a class without a name", "dropped"),
    "not_a_number": ("error", "[box has|boxes have] coordinates that are no numbers", "dropped"),
    "no_size": ("error", "[box has|boxes have] no width or no height", "dropped"),
    "outside": ("error", "[box lies outside its|boxes lie outside their] image", "dropped"),
    "no_image_size": (
        "error",
        "[box is in an image|boxes are in images] that cannot be read, and whose size is not stated",
        "dropped",
    ),
    "image_unreadable": ("error", "[image|images] cannot be read", "kept, and skipped by whoever reads them"),
    "swapped": ("warning", "[box has|boxes have] swapped corners", "swapped back"),
    "beyond": ("warning", "[box reaches beyond its|boxes reach beyond their] image", "cut at its edge"),
    "too_small": ("warning", "[box has|boxes have] a side under 1 pixel at the network's size", "dropped"),
}


@dataclass(frozen=True)
class BoxFinding:
    """One thing that was found. `image`: its path or, where it is missing, its name; `source`: the annotation file;
    `number`: by which that file tells its objects apart, NO_NUMBER if it is about the image as a whole.
    """

    kind: str
    image: str
    source: str
    number: int
    detail: str

    def __str__(self) -> str:
        place = f"{self.source}, object {self.number}" if self.number != NO_NUMBER else self.source
        about = f"{self.image}: {self.detail}" if self.detail else self.image
        return f"{place} ({about})" if place else about


@dataclass(frozen=True)
class ReadFindings:
    """All findings as columns, text [F] and int64 [F]: a million boxes may all have the same mistake. `facts` are about
    the kinds that there can be.
    """

    facts: ClassVar[Facts]

    kinds: npt.NDArray[Any]
    images: npt.NDArray[Any]
    sources: npt.NDArray[Any]
    numbers: npt.NDArray[np.int64]
    details: npt.NDArray[Any]

    @classmethod
    def of(cls, found: "list[BoxFinding]") -> Self:
        texts = (string_column(getattr(f, name) for f in found) for name in ("kind", "image", "source", "detail"))
        kinds, images, sources, details = texts
        return cls(kinds, images, sources, np.array([f.number for f in found], dtype=np.int64), details)

    @classmethod
    def joined(cls, parts: "list[Self]") -> Self:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[BoxFinding]:
        return (self.at(place) for place in range(len(self)))

    def at(self, place: int) -> BoxFinding:
        kind, image, source, detail = (
            str(column[place]) for column in (self.kinds, self.images, self.sources, self.details)
        )
        return BoxFinding(kind, image, source, int(self.numbers[place]), detail)

    def counts(self) -> Counter[str]:
        return Counter(self.kinds.tolist())

    def notes(self) -> list[str]:
        """A sentence for each kind, with the first few."""
        notes, counts = [], self.counts()
        for kind, (_, what, outcome) in self.facts.items():
            if (count := counts[kind]) and kind != "not_read":
                first = np.flatnonzero(self.kinds == kind)[:SHOWN].tolist()
                shown = "; ".join(str(self.at(place)) for place in first)
                notes.append(
                    f"{count:,} {agreeing(count, what)} ({outcome}): {shown}{'; ...' if count > SHOWN else '.'}"
                )
        return notes

    def errors(self) -> str:
        """What data.on_error=fail stops for, with the first few of it; an empty text if there is nothing."""
        errors = [kind for kind, (severity, *_) in self.facts.items() if severity == "error" and kind != "not_read"]
        counts = self.counts()
        said = [f"{counts[kind]:,} {agreeing(counts[kind], self.facts[kind][1])}" for kind in errors if counts[kind]]
        if not said:
            return ""
        places = [place for kind in errors for place in np.flatnonzero(self.kinds == kind)[:SHOWN_IN_ERROR].tolist()]
        shown = "\n".join(f"  {self.at(place)}" for place in places[:SHOWN_IN_ERROR])
        total = sum(counts[kind] for kind in errors)
        more = f"\n  ... {total - SHOWN_IN_ERROR:,} more" if total > SHOWN_IN_ERROR else ""
        return f"{'; '.join(said)}:\n{shown}{more}"


class BoxFindings(ReadFindings):
    facts: ClassVar[Facts] = BOX_KINDS
