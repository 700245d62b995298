"""COMET-ATOMIC-2020 (BART), which generates commonsense. Paper: Sec. 3.2."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import CtsmError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, Provider, empty_inference
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.retrieval.words import clean_phrases

log = logging.getLogger(__name__)

VERSION = 1  # raise when the phrases for the same text change
MAX_LENGTH = 24  # tokens of a phrase
BEAMS = MAX_PHRASES  # of the search; the sequences of all are kept


class Comet(Provider):
    """A COMET-ATOMIC-2020 BART; it is loaded when the first text has no inference on disk.

    `model` is a hub id or a local folder; `batch_size` queries are decoded at once.
    """

    name = "comet"
    infer_all = infer_cached

    def __init__(self, model: str, device: object = "cpu", batch_size: int = 64):
        self.model = model
        self.device = device
        self.batch_size = batch_size
        paths = sorted(Path(model).iterdir()) if Path(model).is_dir() else []
        files = [(path.name, file_fingerprint(path)) for path in paths if path.is_file()]
        # A local folder is identified by its files, so that it may be moved.
        identity = [VERSION, files or model, BEAMS, MAX_LENGTH]
        self.fingerprint = f"comet-{digest(identity)[:20]}"

    @classmethod
    def make(cls, folder: Path | None, *, comet_model: str, device: object) -> Self:
        """A provider for a COMET model; it reads nothing of the folder."""
        return cls(comet_model, device)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences = [empty_inference() for _ in texts]
        jobs = [(i, name) for i, text in enumerate(texts) if text.strip() for name in RELATIONS]
        # Texts of one length need little padding. The longest come first, so that a lack of memory
        # shows at once.
        jobs.sort(key=lambda job: -len(texts[job[0]]))
        while jobs:
            batch = jobs[: self.batch_size]
            # The form of COMET's training. Long texts are cut here, so that the end is kept.
            starts = [" ".join(texts[i].split()[:200])[:2000] for i, _ in batch]
            queries = [f"{start} {batch[n][1]} [GEN]" for n, start in enumerate(starts)]
            try:
                phrases = self._generate(queries)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                log.warning("out of memory; decoding %d queries at once", self.batch_size)
                continue
            for n, (i, name) in enumerate(batch):
                inferences[i][name] = clean_phrases(phrases[n * BEAMS : (n + 1) * BEAMS])
            del jobs[: len(batch)]
        return inferences

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The tokenizer and the model."""
        try:
            from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

            tokenizer: Any = AutoTokenizer.from_pretrained(self.model)
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(self.model)
            return tokenizer, model.to(self.device).eval()
        except ImportError as error:
            way_out = "pip install 'ctsm-lab[comet]', or use `--set knowledge=none`"
            raise CtsmError(f"knowledge=comet needs transformers ({error}): {way_out}.") from error
        except Exception as error:  # the hub, the disk and the device each raise their own
            reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
            found = f"the COMET model {self.model!r} cannot be loaded on {self.device}: {reason}"
            way_out = "Give a hub id or a folder that save_pretrained wrote, or another knowledge"
            example = "(`--set knowledge=atomic` or `--set knowledge=none`)"
            raise CtsmError(f"{found.rstrip('.')}. {way_out} {example}.") from error

    @torch.inference_mode()
    def _generate(self, queries: list[str]) -> list[str]:
        """`BEAMS` phrases for each query."""
        tokenizer, model = self._loaded
        longest = getattr(model.config, "max_position_embeddings", 1024)
        padded = {"return_tensors": "pt", "padding": True, "truncation": True}
        inputs = tokenizer(queries, max_length=longest, **padded).to(self.device)
        found = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
            num_beams=BEAMS, num_return_sequences=BEAMS, do_sample=False, min_length=0,
            max_length=MAX_LENGTH,
        )  # fmt: skip
        return list(tokenizer.batch_decode(found, skip_special_tokens=True))
