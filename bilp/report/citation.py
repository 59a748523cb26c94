"""What to cite: the paper of bi-level data pruning, and that of the method."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bilp.config.methods.spec import Method
from bilp.text.escaping import latex

_NUMBER = re.compile(r"arXiv (\d{4}\.\d{4,5})")
_YEAR = re.compile(r"\b(\d{4})\b")
_BILP = r"""@inproceedings{xu2024bilp,
  title = {Distill Gold from Massive Ores: Bi-level Data Pruning towards Efficient Dataset Distillation},
  author = {Xu, Yue and Li, Yong-Lu and Cui, Kaitong and Wang, Ziyu and Lu, Cewu and Tai, Yu-Wing and Tang, Chi-Keung},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2024},
  eprint = {2305.18381},
  archivePrefix = {arXiv}
}"""


@dataclass(frozen=True)
class Paper:
    """A paper: what it is cited for, who wrote it and where, and its number on arXiv ("" if none is known)."""

    what: str
    who: str
    where: str
    number: str


def papers(method: Method) -> list[Paper]:
    """Those that a result of this method rests on, in the order of their mention."""
    found = _NUMBER.search(method.venue)
    where = method.venue.partition(", arXiv")[0]
    ours = Paper("Bi-level data pruning (BiLP)", "Xu et al. 2024", "ECCV 2024", "2305.18381")
    return [ours, Paper(f"The method: {method.title}", method.paper, where, found[1] if found else "")]


def bibtex(method: Method) -> str:
    """Both as BibTeX. The method's entry holds what its registry knows: without a title, its first line says which paper it is."""
    year, number = _YEAR.search(method.paper), _NUMBER.search(method.venue)
    authors = _YEAR.sub("", method.paper).replace(" et al.", ", others").replace("&", ",")
    people = " and ".join(part.strip() for part in authors.split(",") if part.strip())
    fields = {
        "title": f"{{{latex(method.paper_title)}}}" if method.paper_title else "",
        "author": f"{{{latex(people)}}}",
        "year": f"{{{year[1]}}}" if year else "",
        "note": f"{{{latex(method.venue.partition(', arXiv')[0])}}}",
        "eprint": f"{{{number[1]}}}" if number else "",
        "archivePrefix": "{arXiv}" if number else "",
    }
    lines = ",\n".join(f"  {name} = {value}" for name, value in fields.items() if value)
    return f"{_BILP}\n\n@misc{{{re.sub('[^a-z0-9]', '', method.name)}{year[1] if year else ''},\n{lines}\n}}"
