"""From files to what a run needs: corpus, knowledge, pairs, per-word tables. Everything slow is cached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ctsm_lib import parallel
from ctsm_lib.batches import Pairs, Phrases
from ctsm_lib.cache import Arrays, cached, digest, is_whole
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD, SPLITS, Corpus, prepare_corpus
from ctsm_lib.errors import ConfigError
from ctsm_lib.knowledge import Inference, Provider, provider_for
from ctsm_lib.lexicon import Lexicon, intensity, read_lexicon
from ctsm_lib.model import Tables
from ctsm_lib.model.bag import feature_weights
from ctsm_lib.sources import Sources, cache_folder
from ctsm_lib.vectors import Vectors, load_vectors
from ctsm_workbench.baselines import model_class
from ctsm_workbench.baselines.concepts import concept_table, read_concepts

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """Data ready for training or scoring.

    Attributes:
        pairs: split -> its pairs with their knowledge.
        description: which data this is; goes into every run and result.
    """

    corpus: Corpus
    lexicon: Lexicon
    vectors: Vectors
    pairs: dict[str, Pairs]
    provider: Provider
    description: dict
    concepts: dict[str, list[str]] | None = None

    def tables(self, config: Config) -> Tables:
        """Per-word tables for a new model; words without a vector get N(0, 0.01^2), PAD zero."""
        vocabulary, random = self.corpus.vocabulary, np.random.default_rng(config.seed)
        vectors = np.array(self.vectors.matrix, dtype=np.float32)
        missing = ~self.vectors.found
        vectors[missing] = random.normal(0, 0.01, (int(missing.sum()), vectors.shape[1]))
        vectors[PAD] = 0
        vad, rated = self.lexicon.table(vocabulary, config.neutral_vad)
        labels = [vocabulary.index[emotion] for emotion in EMOTIONS]
        strength = intensity(vad, rated)
        concepts = None
        if self.concepts:
            concepts = torch.from_numpy(concept_table(self.concepts, vocabulary, strength))
        counts = self.corpus.target_counts + 0.1  # words that are never answered stay possible
        log_unigram = np.log(counts / counts.sum())

        def table(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

        return Tables(
            vectors=table(vectors),
            vad=table(vad),
            idf=table(self.corpus.idf),
            intensity=table(strength),
            labels=torch.tensor(labels),
            log_unigram=table(log_unigram),
            bag=table(feature_weights(self.corpus.splits["train"], len(vocabulary)))
            if config.bag_expert
            else None,
            concepts=concepts,
        )


def provider_name(config: Config, sources: Sources) -> str:
    """Which knowledge provider a configuration means: "auto" is `atomic` where the data folder has it."""
    if config.knowledge != "auto":
        return config.knowledge
    return "atomic" if sources.knowledge else "none"


def make_provider(config: Config, sources: Sources, device: str = "cpu") -> Provider:
    """The knowledge provider of a configuration."""
    name = provider_name(config, sources)
    return provider_for(name, sources.knowledge, comet_model=config.comet_model, device=device)


def prepare(
    config: Config,
    sources: Sources,
    splits: Sequence[str] = SPLITS,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Prepared:
    """Read, tokenise, rate, embed and infer, or take it all from the cache.

    Of several processes the main one fills the cache and the others read it; inferring is shared out among them.

    Args:
        splits: for which splits knowledge is needed.
        workers: processes for tokenising.
        device: where COMET runs.

    Raises:
        ConfigError: an unknown split.
        DataError: a file is missing or malformed.
    """
    if unknown := [split for split in splits if split not in SPLITS]:
        raise ConfigError(f"There is no split {unknown[0]!r}. There are: {', '.join(SPLITS)}.")
    folder = cache_folder()
    with parallel.main_first():
        corpus = prepare_corpus(sources.dialogues, folder, config.vocab, workers)
        lexicon = read_lexicon(sources.lexicon)
        vectors = load_vectors(sources.vectors, corpus, folder, config.dim)
        provider = make_provider(config, sources, device)
    wanted = config.concepts and "concepts" in model_class(config.model).reads
    concepts = read_concepts(sources.concepts) if sources.concepts and wanted else None
    pairs = {
        split: _pairs(corpus, split, provider, config.max_context, progress) for split in splits
    }
    description = {
        "data": sources.origin,
        "dialogues": corpus.fingerprint,
        "lexicon": f"{sources.lexicon.name} ({lexicon.scale}, {len(lexicon):,} words)",
        "vectors": vectors.describe(),
        "knowledge": provider.name,
        "concepts": f"{sources.concepts.name} ({len(concepts):,} words)"
        if concepts and sources.concepts
        else "none",
        "vocab": f"{corpus.vocab} ({len(corpus.vocabulary):,})",
        "malformed_rows": len(corpus.problems),
    }
    return Prepared(corpus, lexicon, vectors, pairs, provider, description, concepts)


def _pairs(
    corpus: Corpus, split: str, provider: Provider, max_context: int, progress: bool
) -> Pairs:
    part = corpus.splits[split]
    if provider.name == "none":
        return Pairs(part, None, max_context)

    folder, name = cache_folder(), f"knowledge-{split}"
    key = {
        "corpus": corpus.fingerprint, "vocab": corpus.vocab, "split": split, "provider": provider.fingerprint,
        "words": digest(len(corpus.vocabulary)),
    }  # fmt: skip

    def infer() -> list[Inference]:
        texts = [part.turn_text(turn) for turn in part.pairs[:, 4]]
        return provider.infer_all(texts, folder, progress)

    def build() -> tuple[Arrays, dict]:
        phrases = Phrases.encode(inferred or infer(), corpus.vocabulary)
        return {"tokens": phrases.tokens, "offsets": phrases.offsets}, {}

    inferred = None
    if parallel.world() > 1 and parallel.any_of(not is_whole(folder, name, key)):
        inferred = infer()  # all processes together, or none
    with parallel.main_first():
        arrays, _ = cached(folder, name, key, build)
    return Pairs(part, Phrases(arrays["tokens"], arrays["offsets"]), max_context)
