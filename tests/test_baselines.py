"""Properties of every system of Table 1, CTSM among them: invariance, learning, answers, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_cases import SYSTEMS, concept_tables, make_model, tiny
from helpers import SIZE, close, collate, differ, random_pairs, tiny_config, tiny_tables
from torch import nn

from ctsm_lib.batches import Batch
from ctsm_lib.checkpoint import load_weights, save_tensors, save_weights
from ctsm_lib.corpus import CLS, EOS, PAD, USR
from ctsm_lib.decoding import Decoding, answer_batch
from ctsm_lib.errors import ConfigError, RunError
from ctsm_lib.interface import Output, Tables
from ctsm_lib.registry import available

named = pytest.mark.parametrize("name", SYSTEMS)
every = pytest.mark.parametrize("name", [*SYSTEMS, "tfidf"])
PAIRS = random_pairs(6, seed=3)
SHAPES = {
    "plain": {},
    "deep": {"encoder_layers": 2, "decoder_layers": 3, "ffn": "conv", "tie_output": True},
    "extras": {"bag_expert": True, "word_dropout": 0.3, "head_dropout": 0.3, "copy_once": True},
}
shaped = pytest.mark.parametrize("shape", SHAPES)


def evaluate(model: nn.Module, batch: Batch) -> Output:
    with torch.no_grad():
        return model.eval()(batch)


def rows(output: Output, count: int) -> list[torch.Tensor]:
    return [output.token_nll[output.token_row == row] for row in range(count)]


def same(first: Output, second: Output, order: list[int]) -> None:
    """Row i of the first is row order[i] of the second: words and emotions."""
    mine, theirs = rows(first, len(order)), rows(second, len(second.emotion_logits))
    for row, other in enumerate(order):
        close(mine[row], theirs[other], 2e-5)
        close(first.emotion_logits[row], second.emotion_logits[other], 2e-5)


def equal(first: Output, second: Output) -> bool:
    """Whether words and emotions are the same, bit for bit."""
    words = first.token_nll.equal(second.token_nll)
    return words and first.emotion_logits.equal(second.emotion_logits)


# ------------------------------------------------------------------------------------- invariances


@named
@shaped
def test_padding_order_and_company_change_nothing(name: str, shape: str) -> None:
    """Six more columns of PAD, another order and fewer rows leave words and emotions the same."""
    model = tiny(name, **SHAPES[shape])
    whole = evaluate(model, collate(PAIRS))
    same(evaluate(model, collate(PAIRS, extra=6)), whole, list(range(6)))
    order = [4, 2, 0, 5, 1, 3]
    same(evaluate(model, collate([PAIRS[i] for i in order])), whole, order)
    for row in (0, 5):
        same(evaluate(model, collate([PAIRS[row]])), whole, [row])


@named
def test_the_gold_label_and_the_answer_reach_no_evaluation(name: str) -> None:
    """Another label changes no probability, another answer no emotion; `encode` needs neither."""
    model, batch = tiny(name), collate(PAIRS)
    output = evaluate(model, batch)
    flipped = evaluate(model, replace(batch, label=(batch.label + 7) % 32))
    close(output.token_nll, flipped.token_nll, 0)
    close(output.emotion_logits, flipped.emotion_logits, 0)
    target = torch.where(batch.target > 6, (batch.target - 7 + 3) % 40 + 7, batch.target)
    other = evaluate(model, replace(batch, target=target))
    close(output.emotion_logits, other.emotion_logits, 0)
    with torch.no_grad():
        blind = model.encode(replace(batch, label=None, target=None))
    close(blind.emotion_logits, output.emotion_logits, 0)
    assert not getattr(blind, "losses", {})  # a baseline has them in training


@named
def test_a_word_depends_on_earlier_words_alone(name: str) -> None:
    """Another fourth word leaves the probabilities of the first three, and moves the later ones."""
    pairs = [pair for pair in random_pairs(30, seed=5, target=9) if len(pair.target) >= 7][:3]
    changed = [
        replace(
            pair, target=[*pair.target[:3], (pair.target[3] - 7 + 5) % 40 + 7, *pair.target[4:]]
        )
        for pair in pairs
    ]
    model = tiny(name)
    before, after = (
        rows(evaluate(model, collate(pairs)), 3),
        rows(evaluate(model, collate(changed)), 3),
    )
    for old, new in zip(before, after, strict=True):
        close(old[:3], new[:3], 1e-6)
        differ(old[4:], new[4:], 1e-6)


@named
@shaped
def test_answering_step_by_step_agrees_with_teacher_forcing(name: str, shape: str) -> None:
    """Greedy answers, as targets, have the log-probability that answering reported, row by row."""
    model, batch = tiny(name, **SHAPES[shape]).eval(), collate(PAIRS)
    answers, _ = answer_batch(
        model, replace(batch, target=None, label=None), Decoding(max_length=8)
    )
    targets = [
        [*answer.ids, EOS] if len(answer.alpha) > len(answer.ids) else answer.ids
        for answer in answers
    ]
    assert len({tuple(target) for target in targets}) > 1 and max(map(len, targets)) > 1
    taught = collate(
        [replace(pair, target=target) for pair, target in zip(PAIRS, targets, strict=True)]
    )
    output = evaluate(model, taught)
    for answer, nll in zip(answers, rows(output, len(PAIRS)), strict=True):
        assert answer.log_prob == pytest.approx(-float(nll.sum()), rel=1e-4, abs=1e-4)


@named
def test_beam_search_of_width_one_is_greedy(name: str) -> None:
    model, batch = tiny(name).eval(), replace(collate(PAIRS), target=None, label=None)
    greedy, _ = answer_batch(model, batch, Decoding(max_length=6))
    beam, _ = answer_batch(model, batch, Decoding(method="beam", beams=1, max_length=6))
    for one, other in zip(greedy, beam, strict=True):
        assert one.ids == other.ids and one.log_prob == pytest.approx(other.log_prob, abs=1e-4)


# ---------------------------------------------------------------------------------------- learning


@named
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = tiny(name)
    for seed in range(3):  # a chance (MoEL's oracle, MIME's groups) may leave one out once
        model(collate(random_pairs(8, seed=seed))).losses["total"].backward()
    without = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum())
    ]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert not model.embed.words.weight.grad[PAD].any()


@named
def test_sixteen_pairs_are_learned_by_heart(name: str) -> None:
    """Almost no loss is left, and emotions and greedy answers are those of the pairs."""
    torch.manual_seed(0)
    pairs = random_pairs(16, seed=1)
    model = make_model(
        tiny_config(model=name, label_smoothing=0.0, student_label_weight=1.0), concept_tables()
    )
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=1e-2), collate(pairs)
    if name == "moel":
        model.steps.fill_(60_000)  # the oracle is gone: the emotion chooses its listeners itself
    for _ in range(250):
        model(batch).losses["total"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    output = evaluate(model, batch)
    assert output.losses["generation"] < 0.1
    if name != "transformer":
        assert (output.emotion_logits.argmax(dim=1) == batch.label).all()
    answers, _ = answer_batch(
        model, replace(batch, target=None, label=None), Decoding(max_length=10)
    )
    right = [answer.ids == pair.target[:-1] for answer, pair in zip(answers, pairs, strict=True)]
    assert np.mean(right) > 0.8


@named
def test_label_smoothing_is_in_training_only_and_where_its_paper_has_it(name: str) -> None:
    """`(1 - e) NLL + e mean_v -log P_generated(v)`; the reported perplexity is the plain one's."""
    smoothed, plain = (tiny(name, label_smoothing=share) for share in (0.1, 0.0))
    batch = collate(PAIRS)
    close(
        evaluate(smoothed, batch).losses["generation"],
        evaluate(plain, batch).losses["generation"],
        0,
    )
    totals, words = [], []
    for model in (smoothed, plain):
        torch.manual_seed(0)
        losses = model.train()(batch).losses
        totals.append(losses["total"].item())
        words.append(losses["generation"].item())
    assert words[0] == words[1]
    expected = name not in ("ctsm", "cem", "case")
    assert (abs(totals[0] - totals[1]) > 1e-4) == expected
    if name == "transformer":
        states, spread = [], []
        for pair in PAIRS:
            with torch.no_grad():
                one = collate([pair])
                memory = smoothed.eval().encode(one)
                read = smoothed.embed.look_up(smoothed.ids(one))
                taught = smoothed.decoder.teach(
                    smoothed.embed, read["previous"], smoothed.start(memory), one.target
                )
                pointer = smoothed.decoder.pointer
                logits = pointer.logits(taught.states[0], smoothed.embed.words.weight).double()
                gate = torch.sigmoid(pointer.gate(taught.states[0]).double())
            states.append(logits)
            spread += [
                float((gate[t] * logits[t].softmax(0)).log().mean()) for t in range(len(logits))
            ]
        close(totals[0], 0.9 * words[0] - 0.1 * np.mean(spread))


@named
def test_peer_losses_sum_the_words(name: str) -> None:
    """The words' loss is the mean times the batch's tokens; that of the emotion stays a mean."""
    mean, total = tiny(name), tiny(name, peer_losses=True)
    losses = []
    for model in (mean, total):
        torch.manual_seed(1)
        losses.append(
            {key: value.item() for key, value in model.train()(collate(PAIRS)).losses.items()}
        )
    tokens = sum(len(pair.target) for pair in PAIRS)
    words = tiny(name, weight_emotion=0.0, weight_contrast=0.0)
    torch.manual_seed(1)
    rest = words.train()(collate(PAIRS)).losses
    own = sum(
        value.item()
        for key, value in rest.items()
        if key in ("latent", "attention", "coarse", "fine", "selection", "bag_of_words")
    )
    of_words = rest["total"].item() - own
    assert losses[1]["total"] - losses[0]["total"] == pytest.approx(
        (tokens - 1) * of_words, rel=1e-3
    )


@named
def test_bf16_agrees_with_float32(name: str) -> None:
    model, batch = tiny(name), collate(PAIRS)
    full = evaluate(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = evaluate(model, batch)
        torch.manual_seed(0)
        model.train()(batch).losses["total"].backward()
    close(half.token_nll, full.token_nll, 0.15)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# --------------------------------------------------------------------------------- edges and files


@named
def test_the_poorest_context_gives_finite_numbers(name: str) -> None:
    """CLS alone or one plain word, an answer of one token, no knowledge: neither NaN nor inf."""
    none = {"concepts": torch.full((SIZE,), PAD)}
    tables = replace(tiny_tables(), intensity=torch.zeros(SIZE), more=none)
    for context, speaker in (([CLS], [CLS]), ([CLS, 9], [CLS, USR])):
        pair = replace(PAIRS[0], context=context, speaker=speaker, knowledge=[[]] * 5, target=[EOS])
        model = make_model(tiny_config(model=name), tables)
        output = model(collate([pair, pair]))
        output.losses["total"].backward()
        assert torch.isfinite(output.losses["total"])
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        answers, _ = answer_batch(
            model.eval(), replace(collate([pair]), target=None, label=None), Decoding(max_length=4)
        )
        assert len(answers) == 1 and np.isfinite(answers[0].log_prob)


@every
def test_weights_come_back_from_a_file(name: str, tmp_path: Path) -> None:
    """A model with empty tables, as for loading, gets weights and buffers (concepts, steps)."""
    model = tiny(name)
    if name != "tfidf":
        model(collate(PAIRS))
    save_weights(tmp_path / "weights.safetensors", model, {"iteration": 3})
    again = make_model(model.config, Tables.empty(SIZE, model.config.dim))
    assert load_weights(tmp_path / "weights.safetensors", again) == {"iteration": 3}
    first, second = evaluate(model, collate(PAIRS)), evaluate(again, collate(PAIRS))
    close(first.token_nll, second.token_nll, 0)
    close(first.emotion_logits, second.emotion_logits, 0)


def test_older_weights_that_repeat_the_word_frequencies_are_read(tmp_path: Path) -> None:
    model = tiny("ctsm")
    older = model.state_dict() | {"decoder.pointer.usual": model.log_unigram.clone()}
    save_tensors(tmp_path / "weights.safetensors", older)
    load_weights(tmp_path / "weights.safetensors", model)
    save_tensors(
        tmp_path / "weights.safetensors",
        older | {"decoder.pointer.unheard": model.log_unigram.clone()},
    )
    with pytest.raises(RunError, match=r"the model lacks decoder\.pointer\.unheard"):
        load_weights(tmp_path / "weights.safetensors", model)


def test_only_the_transformer_predicts_no_emotion() -> None:
    for name in [*SYSTEMS, "tfidf"]:
        model = tiny(name)
        assert model.predicts_emotion == (name != "transformer")
    assert not evaluate(tiny("transformer"), collate(PAIRS)).emotion_logits.any()


@every
def test_models_name_the_optional_data_that_they_use(name: str) -> None:
    """A model changes with the knowledge, or the concepts, if and only if `uses` names them."""
    model, batch = tiny(name), collate(PAIRS)
    before = evaluate(model, batch)
    knowledge = torch.where(
        batch.knowledge > 6, (batch.knowledge - 7 + 9) % 40 + 7, batch.knowledge
    )
    after = evaluate(model, replace(batch, knowledge=knowledge))
    assert equal(before, after) == ("knowledge" not in model.uses)
    if hasattr(model, "concepts"):
        model.concepts[:] = PAD
        without = evaluate(model, batch)
        assert equal(before, without) == ("concepts" not in model.uses)


def test_every_system_is_found_by_its_name() -> None:
    assert available("models") == sorted([*SYSTEMS, "tfidf"])
    fitted = [name for name in available("models") if getattr(tiny(name), "is_fitted", False)]
    assert fitted == ["tfidf"]


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="moel"):
        tiny_config().override(["model=moell"])


# ------------------------------------------------------------------------------------------ TF-IDF


def test_tfidf_is_scikit_learns() -> None:
    """Features and logits equal those of TfidfVectorizer and LogisticRegression, in float64."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from ctsm_lib.batches import Pairs
    from ctsm_lib.corpus import Split

    pairs = random_pairs(60, seed=2)
    tokens = np.concatenate([pair.context[1:] for pair in pairs])
    ends = np.cumsum([len(pair.context) - 1 for pair in pairs])
    begins = np.concatenate([[0], ends[:-1]])
    table = np.stack(
        [begins, ends, ends, [pair.label % 4 for pair in pairs], np.zeros(60, dtype=int)], axis=1
    )
    split = Split.__new__(Split)
    object.__setattr__(split, "tokens", tokens)
    object.__setattr__(split, "pairs", table)
    model = make_model(tiny_config(model="tfidf", bag_strength=2.0), tiny_tables())
    model.fit(Pairs(split))
    texts = [" ".join(f"w{token}" for token in pair.context[1:]) for pair in pairs]
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, token_pattern=r"\S+")
    expected = LogisticRegression(C=2.0, max_iter=200).fit(
        vectorizer.fit_transform(texts), table[:, 3]
    )
    batch = collate(pairs)
    features = vectorizer.transform(texts).toarray()
    for word, column in vectorizer.vocabulary_.items():
        close(model.features(batch.context)[:, int(word[1:])], features[:, column])
    logits = model.encode(batch).emotion_logits[:, :4]
    close(logits.log_softmax(dim=1), expected.predict_log_proba(vectorizer.transform(texts)), 2e-3)
    assert (model.encode(batch).emotion_logits[:, 4:] < -20).all()  # labels that never occurred
