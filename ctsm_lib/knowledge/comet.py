"""Generation: what a COMET-ATOMIC-2020 BART says about an utterance."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_lib.knowledge.phrases import (
    MAX_PHRASES,
    RELATIONS,
    Inference,
    clean_phrases,
    empty_inference,
)

log = logging.getLogger(__name__)

VERSION = 1  # raise when the answer to the same text changes


class Comet:
    """A COMET-ATOMIC-2020 BART; it is loaded when the first text is not in the cache.

    Args:
        model: hub id or local folder.
        device: where it runs.
        batch_size: how many (text, relation) pairs are decoded at once.
        beams: beams of the search; as many sequences are kept, at most `MAX_PHRASES`.
    """

    name = "comet"

    def __init__(self, model: str, device: object = "cpu", batch_size: int = 64, beams: int = 5):
        if batch_size < 1 or beams < 1:
            raise ConfigError(
                f"comet needs batch_size and beams of at least 1, not {batch_size} and {beams}."
            )
        self.model, self.device, self.batch_size, self.beams = model, device, batch_size, beams
        self.max_length = 24
        paths = sorted(Path(model).iterdir()) if Path(model).is_dir() else []
        files = [(path.name, file_fingerprint(path)) for path in paths if path.is_file()]
        # A folder is its files, wherever it lies.
        self.fingerprint = f"comet-{digest([VERSION, files or model, beams, self.max_length])[:20]}"
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
            except ImportError as error:
                raise CtsmError(
                    f"knowledge=comet needs transformers ({error}): pip install 'ctsm-lab[comet]', "
                    "or go without with `--set knowledge=none`."
                ) from error
            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(self.model)
                model: Any = AutoModelForSeq2SeqLM.from_pretrained(self.model)
                self._loaded = tokenizer, model.to(self.device).eval()
            except Exception as error:  # the hub, the disk and the device each raise their own
                reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
                raise CtsmError(
                    f"the COMET model {self.model!r} cannot be loaded on {self.device}: {reason.rstrip('.')}. Give a "
                    "hub id or a folder that save_pretrained wrote, or use `--set knowledge=atomic` "
                    "or `--set knowledge=none`."
                ) from error
        return self._loaded

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences = [empty_inference() for _ in texts]
        jobs = [
            (i, relation) for i, text in enumerate(texts) if text.strip() for relation in RELATIONS
        ]
        # Like lengths together cost little padding; with the longest first, a lack of memory shows at once.
        jobs.sort(key=lambda job: -len(texts[job[0]]))
        kept = min(self.beams, MAX_PHRASES)
        begin = 0
        with tqdm(
            total=len(jobs), desc="comet", unit="query", disable=None if progress else True
        ) as bar:
            while begin < len(jobs):
                batch = jobs[begin : begin + self.batch_size]
                phrases = self._generate(
                    [_comet_query(texts[i], relation) for i, relation in batch], kept
                )
                if phrases is None:
                    self.batch_size = max(1, self.batch_size // 2)
                    log.warning(
                        "the device's memory is too small; decoding %d queries at once",
                        self.batch_size,
                    )
                    continue
                for n, (i, relation) in enumerate(batch):
                    inferences[i][relation] = clean_phrases(phrases[n * kept : (n + 1) * kept])
                begin += len(batch)
                bar.update(len(batch))
        return inferences

    def _generate(self, queries: list[str], kept: int) -> list[str] | None:
        """`kept` tails for each query, None when a smaller batch may fit the memory."""
        tokenizer, model = self._load()
        import torch

        longest = getattr(model.config, "max_position_embeddings", 1024)
        inputs = tokenizer(
            queries, return_tensors="pt", padding=True, truncation=True, max_length=longest
        )
        try:
            with torch.inference_mode():
                found = model.generate(
                    input_ids=inputs["input_ids"].to(self.device),
                    attention_mask=inputs["attention_mask"].to(self.device),
                    num_beams=self.beams,
                    num_return_sequences=kept,
                    max_length=self.max_length,
                    min_length=0,
                    do_sample=False,
                )
        except torch.OutOfMemoryError:
            if len(queries) == 1:
                raise
            return None
        decoded: list[str] = tokenizer.batch_decode(found, skip_special_tokens=True)
        return decoded


def _comet_query(text: str, relation: str) -> str:
    # The form of COMET's training. The end must survive, so that it is the text of a novelist that is cut.
    return f"{' '.join(text.split()[:200])[:2000]} {relation} [GEN]"
