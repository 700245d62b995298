"""Commonsense about an utterance: its speaker's intent, needs, wants, effects and reactions.

Paper: Sec. 3.2. COMET-ATOMIC-2020 (BART) generates short phrases for five relations of ATOMIC.
Other providers have the same interface: `none` is empty, and packages register more (`registry`).
"""

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from ctsm_lib.errors import ConfigError, CtsmError, DataError

log = logging.getLogger(__name__)

RELATIONS = ("xIntent", "xNeed", "xWant", "xEffect", "xReact")
MAX_PHRASES = 5
DEFAULT_COMET = "mismayil/comet-bart-ai2"
COMET_VERSION = 1  # raise when COMET's phrases for the same text change
QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'"})

Inference = dict[str, list[str]]  # relation -> at most MAX_PHRASES phrases


def empty_inference() -> Inference:
    """An inference without phrases."""
    return {relation: [] for relation in RELATIONS}


class Provider(Protocol):
    """A source of commonsense."""

    name: str  # the value of the setting `knowledge`
    fingerprint: str  # identity of its data, its settings and the version of its code

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """One inference for each text, in the order of the texts, with a list for each relation."""
        ...

    def infer_all(self, texts: Sequence[str], folder: Path, progress: bool) -> list[Inference]:
        """As `infer`, for the texts of a split; slow providers keep inferences in the folder."""
        return self.infer(texts, progress)


class NoKnowledge(Provider):
    """No phrases: the model uses its learned vector of each relation."""

    name = "none"
    fingerprint = "none"

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """Empty lists for every text."""
        return [empty_inference() for _ in texts]


def provider_for(
    name: str, folder: Path | None, *, comet_model: str = DEFAULT_COMET, device: object = "cpu"
) -> Provider:
    """Make a provider by its name.

    `folder` holds the files of a provider that another package registered (the ATOMIC files of
    `atomic`); `comet_model` and `device` are for `comet`. An unknown name raises a `ConfigError`, a
    missing folder a `DataError`.
    """
    if name == "none":
        return NoKnowledge()
    if name == "comet":
        return Comet(comet_model, device)
    from ctsm_lib.registry import available, provider_class

    if name not in available("providers"):
        valid = ", ".join(["comet", *available("providers"), "none"])
        raise ConfigError(f"knowledge={name!r} does not exist; valid are {valid}.")
    if folder is None:
        way_out = "without one use `--set knowledge=none`"
        raise DataError(f"knowledge={name} needs a folder with ATOMIC files; {way_out}.")
    return provider_class(name)(folder)


class Comet(Provider):
    """A COMET-ATOMIC-2020 BART; it is loaded when the first text has no inference on disk.

    Args:
        model: hub id or local folder.
        device: where it runs.
        batch_size: (text, relation) pairs that are decoded at once.
        beams: beams of the search; as many sequences are kept, at most `MAX_PHRASES`.
    """

    name = "comet"
    max_length = 24

    def __init__(self, model: str, device: object = "cpu", batch_size: int = 64, beams: int = 5):
        from ctsm_lib.cache import digest, file_fingerprint  # imports numpy

        if batch_size < 1 or beams < 1:
            found = f"{batch_size} and {beams}"
            raise ConfigError(f"comet needs batch_size and beams of at least 1, not {found}.")
        self.model = model
        self.device = device
        self.batch_size = batch_size
        self.beams = beams
        paths = sorted(Path(model).iterdir()) if Path(model).is_dir() else []
        files = [(path.name, file_fingerprint(path)) for path in paths if path.is_file()]
        # A local folder is identified by its files, so that it may be moved.
        identity = [COMET_VERSION, files or model, beams, self.max_length]
        self.fingerprint = f"comet-{digest(identity)[:20]}"

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences = [empty_inference() for _ in texts]
        jobs = [(i, name) for i, text in enumerate(texts) if text.strip() for name in RELATIONS]
        # Texts of one length need little padding. The longest come first, so that a lack of memory
        # shows at once.
        jobs.sort(key=lambda job: -len(texts[job[0]]))
        kept = min(self.beams, MAX_PHRASES)
        begin = 0
        hide = None if progress else True
        with tqdm(total=len(jobs), desc="comet", unit="query", disable=hide) as bar:
            while begin < len(jobs):
                batch = jobs[begin : begin + self.batch_size]
                phrases = self._generate([_query(texts[i], name) for i, name in batch], kept)
                if phrases is None:
                    self.batch_size = max(1, self.batch_size // 2)
                    log.warning("out of memory; decoding %d queries at once", self.batch_size)
                    continue
                for n, (i, name) in enumerate(batch):
                    inferences[i][name] = clean_phrases(phrases[n * kept : (n + 1) * kept])
                begin += len(batch)
                bar.update(len(batch))
        return inferences

    def infer_all(self, texts: Sequence[str], folder: Path, progress: bool) -> list[Inference]:
        """See `Provider`; inferences are kept on disk, since a split takes hours."""
        from ctsm_lib.knowledge_store import infer_cached

        return infer_cached(self, texts, folder, progress)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The tokenizer and the model."""
        way_out = "use `--set knowledge=none`"
        try:
            from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
        except ImportError as error:
            needs = f"knowledge=comet needs transformers ({error})"
            raise CtsmError(f"{needs}: pip install 'ctsm-lab[comet]', or {way_out}.") from error
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.model)
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(self.model)
            return tokenizer, model.to(self.device).eval()
        except Exception as error:  # the hub, the disk and the device each raise their own
            reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
            raise CtsmError(
                f"the COMET model {self.model!r} cannot be loaded on {self.device}: "
                f"{reason.rstrip('.')}. Give a hub id or a folder that save_pretrained wrote, "
                f"or use `--set knowledge=atomic`, or {way_out}."
            ) from error

    def _generate(self, queries: list[str], kept: int) -> list[str] | None:
        """`kept` phrases for each query, None where a smaller batch may fit the memory."""
        import torch

        tokenizer, model = self._loaded
        longest = getattr(model.config, "max_position_embeddings", 1024)
        padded = {"return_tensors": "pt", "padding": True, "truncation": True}
        inputs = tokenizer(queries, max_length=longest, **padded).to(self.device)
        search = {"num_beams": self.beams, "num_return_sequences": kept, "do_sample": False}
        lengths = {"min_length": 0, "max_length": self.max_length}
        try:
            with torch.inference_mode():
                mask = inputs["attention_mask"]
                ids = inputs["input_ids"]
                found = model.generate(input_ids=ids, attention_mask=mask, **search, **lengths)
        except torch.OutOfMemoryError:
            if len(queries) == 1:
                raise
            return None
        return list(tokenizer.batch_decode(found, skip_special_tokens=True))


def _query(text: str, relation: str) -> str:
    # The form of COMET's training. Long texts are cut here, so that the end is kept.
    return f"{' '.join(text.split()[:200])[:2000]} {relation} [GEN]"


# Annotators were asked about PersonX; some files have first names in place of the placeholders.
_X = r"(?:person ?x|john)"
_Y = r"(?:person ?y|tom)"
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"^(?:that )?{_X} (?:is|was|feels|felt) (?=\S)", ""),  # "PersonX is happy" -> "happy"
        (rf"^{_X} (?=\S)", ""),  # "PersonX smiles" -> "smiles"
        (rf"\b(?:{_X}|x)(?:'s|s')(?!\w)", "their"),
        (rf"\b{_X}s (?=[a-z])", "their "),
        (rf"\b(?:{_X}|(?<![\w'-])x(?![\w'-]))(?!\w)", "them"),
        (rf"\b(?:{_Y}|y)'s?(?!\w)", "someone's"),
        (rf"\b{_Y}s (?=[a-z])", "someone's "),
        (rf"\b(?:{_Y}|(?<![\w'-])y(?![\w'-]))(?!\w)", "someone"),
        (r"\bperson ?z'?s\b", "someone else's"),
        (r"\bperson ?z\b", "someone else"),
        (r"^(?:(?:to|none) +)+", ""),  # "to go home" -> "go home"
    )
]
_EMPTY = (
    "|none|at all|nan|n/a|na|nil|null|no|nothing|no effect|no one|unknown|not applicable|to|it|them"
    "|their|someone|someone's|someone else|someone else's"
)
_NOTHING = frozenset(_EMPTY.split("|"))
_MARKS = " .,;:!?\"'*-/()"


@lru_cache(maxsize=1 << 18)
def clean_phrase(text: str) -> str:
    """An annotator's or a model's text in the form that the model reads; "" if it tells nothing.

    Lower-case ASCII. PersonX is left out as the subject and is "them" elsewhere; PersonY is
    "someone". A leading "to", blanks ("___"), marks at the ends, "none" and the like are removed.
    """
    text = unicodedata.normalize("NFKD", text.translate(QUOTES))
    text = text.encode("ascii", "ignore").decode().lower()
    text = " ".join(re.sub(r"_+|\[gen\]|<[^<>]*>", " ", text).split()).strip(_MARKS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = text.strip(_MARKS)
    return "" if text in _NOTHING or not re.search("[a-z]{2}", text) else text


def clean_phrases(texts: Iterable[str]) -> list[str]:
    """The first `MAX_PHRASES` distinct phrases that are not empty."""
    return list(dict.fromkeys(filter(None, map(clean_phrase, texts))))[:MAX_PHRASES]
