"""From files to the data of a run: corpus, commonsense, pairs, per-word tables. It is cached."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ctsm_lib.batches import Pairs, Phrases
from ctsm_lib.cache import Arrays, cached, digest, is_whole
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD, SPLITS, Corpus, prepare_corpus
from ctsm_lib.errors import ConfigError
from ctsm_lib.interface import Tables
from ctsm_lib.knowledge import Inference, Provider, provider_for
from ctsm_lib.lexicon import Lexicon, intensity, read_lexicon
from ctsm_lib.parallel import any_of, main_first, world
from ctsm_lib.registry import model_class
from ctsm_lib.sources import Sources, cache_folder
from ctsm_lib.vectors import Vectors, load_vectors


@dataclass
class Prepared:
    """Data that is ready for training or scoring."""

    corpus: Corpus
    lexicon: Lexicon
    vectors: Vectors
    pairs: dict[str, Pairs]  # split -> its pairs with their commonsense
    provider: Provider
    sources: Sources
    description: dict  # identity of the data, for runs and results

    def tables(self, config: Config) -> Tables:
        """Per-word tables for a new model; words without a vector get N(0, 0.01^2), PAD zero."""
        vocabulary = self.corpus.vocabulary
        random = np.random.default_rng(config.seed)
        vectors = np.array(self.vectors.matrix, dtype=np.float32)
        missing = ~self.vectors.found
        vectors[missing] = random.normal(0, 0.01, (int(missing.sum()), vectors.shape[1]))
        vectors[PAD] = 0
        vad, rated = self.lexicon.table(vocabulary, config.neutral_vad)
        strength = intensity(vad, rated)
        counts = self.corpus.target_counts + 0.1  # words that are in no answer stay possible
        more = getattr(model_class(config), "more_tables", None)
        facts = {"sources": self.sources, "intensity": strength}
        return Tables(
            vectors=_table(vectors), vad=_table(vad), idf=_table(self.corpus.idf),
            intensity=_table(strength),
            labels=torch.tensor([vocabulary.index[emotion] for emotion in EMOTIONS]),
            log_unigram=_table(np.log(counts / counts.sum())),
            more=more(config, self.corpus, **facts) if more else {},
        )  # fmt: skip


def _table(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def make_provider(config: Config, sources: Sources, device: str = "cpu") -> Provider:
    """The commonsense provider of a configuration; "auto" is `atomic` where the data has it."""
    found = "atomic" if sources.knowledge else "none"
    name = found if config.knowledge == "auto" else config.knowledge
    return provider_for(name, sources.knowledge, comet_model=config.comet_model, device=device)


def prepare(
    config: Config, sources: Sources, splits: Sequence[str] = SPLITS, workers: int | None = None,
    device: str = "cpu", progress: bool = True,
) -> Prepared:  # fmt: skip
    """Read, tokenise, rate, embed and infer, or take it all from the cache.

    Of several processes the main one fills the cache and the others read it; they share inferring.
    Commonsense is inferred for the given splits; `workers` tokenise; COMET runs on the device.

    Raises `DataError` where a file is missing or malformed.
    """
    if unknown := [split for split in splits if split not in SPLITS]:
        raise ConfigError(f"There is no split {unknown[0]!r}. There are: {', '.join(SPLITS)}.")
    folder = cache_folder()
    with main_first():
        corpus = prepare_corpus(sources.dialogues, folder, config.vocab, workers)
        lexicon = read_lexicon(sources.lexicon)
        vectors = load_vectors(sources.vectors, corpus, folder, config.dim)
        provider = make_provider(config, sources, device)
    most = config.max_context
    pairs = {split: _pairs(corpus, split, provider, most, progress) for split in splits}
    describe = getattr(model_class(config), "more_description", None)
    description = {
        "data": sources.origin,
        "dialogues": corpus.fingerprint,
        "lexicon": f"{sources.lexicon.name} ({lexicon.scale}, {len(lexicon):,} words)",
        "vectors": vectors.describe(),
        "knowledge": provider.name,
        "concepts": "none",
        "vocab": f"{corpus.vocab} ({len(corpus.vocabulary):,})",
        "malformed_rows": len(corpus.problems),
    } | (describe(config, sources) if describe else {})
    return Prepared(
        corpus=corpus, lexicon=lexicon, vectors=vectors, pairs=pairs, provider=provider,
        sources=sources, description=description,
    )  # fmt: skip


def _pairs(
    corpus: Corpus, split: str, provider: Provider, max_context: int, progress: bool
) -> Pairs:
    part = corpus.splits[split]
    folder = cache_folder()
    name = f"knowledge-{split}"
    if provider.name == "none":
        return Pairs(part, None, max_context)
    key = {"corpus": corpus.fingerprint, "vocab": corpus.vocab, "split": split}
    key |= {"provider": provider.fingerprint, "words": digest(len(corpus.vocabulary))}

    def infer() -> list[Inference]:
        texts = [part.turn_text(turn) for turn in part.pairs[:, 4]]
        return provider.infer_all(texts, folder, progress)

    def build() -> tuple[Arrays, dict]:
        phrases = Phrases.encode(inferred or infer(), corpus.vocabulary)
        return {"tokens": phrases.tokens, "offsets": phrases.offsets}, {}

    # All processes infer together, or none.
    missing = world() > 1 and any_of(not is_whole(folder, name, key))
    inferred = infer() if missing else None
    with main_first():
        arrays, _ = cached(folder, name, key, build)
    return Pairs(part, Phrases(arrays["tokens"], arrays["offsets"]), max_context)
