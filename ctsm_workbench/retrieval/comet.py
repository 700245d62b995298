"""COMET-ATOMIC-2020 (BART), which generates commonsense. Paper: Sec. 3.2."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, Provider, empty_inference
from ctsm_workbench.retrieval.phrases import clean_phrases

log = logging.getLogger(__name__)

VERSION = 1  # raise when the phrases for the same text change


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
        identity = [VERSION, files or model, beams, self.max_length]
        self.fingerprint = f"comet-{digest(identity)[:20]}"

    @classmethod
    def make(cls, folder: Path | None, *, comet_model: str, device: object) -> "Comet":
        """A provider for a COMET model; it reads nothing of the folder."""
        return cls(comet_model, device)

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
        # Its import of torch takes long.
        from ctsm_workbench.retrieval.store import infer_cached

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
